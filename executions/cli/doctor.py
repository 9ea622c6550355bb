"""`doctor`: whether all that executions need is there, and what to do where it is not."""

from __future__ import annotations

import dataclasses

import click
from rich.status import Status
from rich.text import Text

from executions.cli.commands import Command
from executions.cli.problems import FAILED
from executions.cli.render import safe
from executions.cli.session import Session, pass_session
from executions.client.health import Check, State
from executions.client.invariants import Finding, Report

_COLOURS = {State.OK: "green", State.WARN: "yellow", State.FAIL: "bold red"}

#: Findings of each code that are printed; `--json` has all that are kept.
_SHOWN = 20


@click.command(cls=Command)
@click.option("--invariants", is_flag=True, help="Look at every execution: does the registry hold its promises?")
@click.option("--repair", is_flag=True, help="With --invariants: mend what can be mended.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_session
def doctor(session: Session, invariants: bool, repair: bool, as_json: bool) -> None:
    """Check the server, the broker, the workers, the payload store.

    Each point is ok, a warning or a failure, and says what to do. Exits with 1 if something fails.
    """
    if repair and not invariants:
        raise click.UsageError("--repair goes with --invariants")
    holds = _promises(session, repair, as_json) if invariants else _needs(session, as_json)
    if not holds:
        raise click.exceptions.Exit(FAILED)


def _needs(session: Session, as_json: bool) -> bool:
    checks = session.client.health()
    if as_json:
        session.json(checks)
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            session.print(_line(check, width))
    return all(check.state is not State.FAIL for check in checks)


def _line(check: Check, width: int) -> Text:
    line = Text.assemble((f"{check.state:<4}", _COLOURS[check.state]), f"  {check.name:<{width}}  {safe(check.found)}")
    if check.advice:
        line.append(f"\n{'':<{width + 8}}-> {check.advice}", "bold")
    return line


def _promises(session: Session, repair: bool, as_json: bool) -> bool:
    # Drawn on a terminal only; elsewhere nothing is written.
    with session.err.status("looking") as status:
        report = session.client.invariants(repair=repair, progress=lambda what, done, of: _show(status, what, done, of))
    holds = all(one.repaired for one in report.findings) and sum(report.counts.values()) == len(report.findings)
    if as_json:
        findings = [{**dataclasses.asdict(one), "repair": one.repair} for one in report.findings]
        session.json({**dataclasses.asdict(report), "holds": report.holds, "findings": findings})
    else:
        for line in _told(report, repair):
            session.print(line)
    return holds


def _show(status: Status, what: str, done: int, of: int) -> None:
    status.update(f"{what}: {done / of:.0%}" if of else f"{what}: {done}")


def _told(report: Report, repair: bool) -> list[Text]:
    lines = [_finding(one, repair) for code in report.counts for one in _first(report, code)]
    for code, count in report.counts.items():
        if count > _SHOWN:
            lines.append(Text(f"{code}: {count - _SHOWN} more"))
    found = sum(report.counts.values())
    words = f"{report.submitted} executions, {report.ended} ended and {report.live} live, in {report.seconds:.1f} s: "
    words += f"{found} findings" if found else "every promise holds"
    lines.append(Text(words + (f", {report.repaired} repaired" if repair else "")))
    return lines


def _first(report: Report, code: str) -> list[Finding]:
    return [one for one in report.findings if one.code == code][:_SHOWN]


def _finding(one: Finding, repair: bool) -> Text:
    line = Text.assemble((f"{one.code:<16}", "bold red"), f"  {safe(one.id)}: {safe(one.found)}")
    if one.repaired:
        line.append("\n    repaired", "green")
    elif one.repair and not repair:
        line.append(f"\n    --repair would {one.repair}", "bold")
    else:
        line.append("\n    no repair: look at it" if not one.repair else "\n    not repaired: it has moved on", "bold")
    return line
