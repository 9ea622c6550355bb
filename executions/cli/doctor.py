"""`doctor`: whether all that executions need is there, and what to do where it is not."""

from __future__ import annotations

import click
from rich.text import Text

from executions.cli.commands import Command
from executions.cli.problems import FAILED
from executions.cli.render import safe
from executions.cli.session import Session, pass_session
from executions.client.health import Check, State

_COLOURS = {State.OK: "green", State.WARN: "yellow", State.FAIL: "bold red"}


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_session
def doctor(session: Session, as_json: bool) -> None:
    """Check the server, the broker, the workers, the payload store.

    Each point is ok, a warning or a failure, and says what to do. Exits with 1 if something fails.
    """
    checks = session.client.health()
    if as_json:
        session.json(checks)
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            session.print(_line(check, width))
    if any(check.state is State.FAIL for check in checks):
        raise click.exceptions.Exit(FAILED)


def _line(check: Check, width: int) -> Text:
    line = Text.assemble((f"{check.state:<4}", _COLOURS[check.state]), f"  {check.name:<{width}}  {safe(check.found)}")
    if check.advice:
        line.append(f"\n{'':<{width + 8}}-> {check.advice}", "bold")
    return line
