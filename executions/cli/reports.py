"""`queues`, `failures`, `stats` and `export`: what a fleet's executions come to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
from rich.text import Text

from executions.cli import render
from executions.cli.commands import Command
from executions.cli.documents import WRITERS, export, plain, stats_of
from executions.cli.listing import compose
from executions.cli.problems import Problem, pointing_into
from executions.cli.render import Column, Cut
from executions.cli.session import Session, pass_session
from executions.cli.values import moment_of
from executions.columns import SUMMARY, parse_columns
from executions.execution import human_duration
from executions.queue import most_waiting
from executions.stats import Spread, Stats

_query = click.argument("query", nargs=-1)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")

_QUEUES = (
    Column("QUEUE", lambda queue: queue.name),
    Column("WAITING", lambda queue: str(queue.pending), right=True),
    Column("OLDEST", lambda queue: render.age(queue.oldest), right=True),
    Column("RUNNING", lambda queue: str(queue.running), right=True),
    Column("WORKERS", lambda queue: ", ".join(queue.workers) or Text("none", "red"), cut=Cut.END),
)


@click.command(cls=Command)
@_as_json
@pass_session
def queues(session: Session, as_json: bool) -> None:
    """List the queues: what waits, what runs, who serves them.

    WAITING counts what is put off, or waits for its service, as well. OLDEST is since when the first of them waits.
    """
    found, empty = most_waiting(session.client.queues.list()), "no queues: nothing waits, and no worker is there"
    render.listing(session, _QUEUES, found, as_json=as_json, empty=empty)


_FAILURES = (
    Column("COUNT", lambda group: str(len(group.items)), right=True),
    Column("LAST", lambda group: render.age(group.newest.finished), right=True),
    Column("ERROR", lambda group: Text(render.safe(group.type), "red")),
    Column("FUNCTION", lambda group: ", ".join(group.functions), cut=Cut.BEGINNING),
    Column("NEWEST", lambda group: group.newest.id),
    Column("MESSAGE", lambda group: group.message.partition("\n")[0], cut=Cut.END),
)


@click.command(cls=Command)
@_query
@click.option("--limit", "-n", type=click.IntRange(1, 10_000), default=500, show_default=True, help="Look at so many.")
@_as_json
@pass_session
def failures(session: Session, query: tuple[str, ...], limit: int, as_json: bool) -> None:
    """List the newest failures by what went wrong.

    The most frequent kind comes first.
    """
    asked = " ".join(query)
    with pointing_into(asked):
        found = session.client.executions.failures(asked or None, most=limit)
    if as_json:
        kinds = [
            {"key": one.key, "type": one.type, "message": one.message, "frame": one.frame, "count": len(one.items),
             "functions": one.functions, "first": one.oldest.finished, "last": one.newest.finished,
             "ids": [item.id for item in one.items]}
            for one in found.groups
        ]  # fmt: skip
        session.json(plain({"failures": kinds, "looked_at": len(found.items), "complete": not found.is_cut}))
    elif found.groups:
        render.table(session.out, _FAILURES, found.groups)
        if found.is_cut:
            session.hint(f"of the newest {len(found.items):,} failures; --limit looks at more")
    else:
        session.hint("nothing failed")


def _rate(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}%"


def _lengths(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    each = (spread.p50, spread.p95, spread.p99)
    return " / ".join(f"{one * 1000:.0f}ms" if one < 1 else human_duration(one) for one in each)


_STEPS = (
    Column("SINCE", lambda step: step.since.isoformat(" ", "seconds").removesuffix("+00:00")),
    Column("CREATED", lambda step: f"{step.created:,}", right=True),
    Column("STARTED", lambda step: f"{step.started:,}", right=True),
    Column("ENDED", lambda step: f"{step.ended:,}", right=True),
    Column("SUCCESS", lambda step: _rate(step.success_rate), right=True),
    Column("FAILED", lambda step: _rate(step.failure_rate), right=True),
    Column("TOOK P50 / P95 / P99", lambda step: _lengths(step.duration)),
    Column("QUEUED P50 / P95 / P99", lambda step: _lengths(step.queue_time), wide_from=120),
)


@click.command(cls=Command)
@_query
@click.option("--by", metavar="FIELD", help="What to count by.  [default: status]")
@click.option(
    "--since", metavar="TIME", help="Over time, from then on: 2h ago, or 2026-01-31; with --by: created since."
)
@click.option("--until", metavar="TIME", help="Over time, until then.  [default: now]")
@click.option("--step", metavar="LENGTH", help="Over time, in steps of 1h or the like; at most 200.")
@_as_json
@pass_session
def stats(
    session: Session,
    query: tuple[str, ...],
    by: str | None,
    since: str | None,
    until: str | None,
    step: str | None,
    as_json: bool,
) -> None:
    """Count executions by a field, or sum them up over time.

    A field is status, function, queue, pipeline or the like. With --since, --until or --step it is over time, 24 hours
    unless said otherwise: rates, and percentiles of how long they took and waited.
    """
    asked = " ".join(query)
    if by is None and (since or until or step):
        with pointing_into(asked):
            found = session.client.executions.stats(
                asked or None, moment_of(since or "24h"), moment_of(until or "now"), step
            )
        _tell_steps(session, found, as_json)
        return
    if until or step:
        raise click.UsageError("--by counts, and --until and --step are for sums over time: leave one out")
    _count(session, asked, by or "status", since, as_json)


def _tell_steps(session: Session, found: Stats, as_json: bool) -> None:
    if as_json:
        session.json(stats_of(found))
        return
    render.table(session.out, _STEPS, found.steps)
    total = found.total
    session.write(
        f"in all: {total.created:,} created, {total.started:,} started, {total.ended:,} ended, "
        f"{_rate(total.success_rate)} of them well and {_rate(total.failure_rate)} failed; "
        f"took {_lengths(total.duration)}"
    )
    if not found.complete:
        session.hint(f"these are estimates from {found.scanned:,} records")


def _count(session: Session, asked: str, by: str, since: str | None, as_json: bool) -> None:
    with pointing_into(asked):
        (found,) = session.client.executions.facets(compose(asked, since, {}), by=[by]).values()
    if as_json:
        session.json({"counts": dict(found), "complete": found.complete})
        return
    columns = (
        Column(by.upper(), lambda row: row[0] or "-"),
        Column("COUNT", lambda row: str(row[1]), right=True),
    )
    render.table(session.out, columns, found.items())
    if not found.complete:
        session.hint("these are the most frequent, or those of the newest: there are more")


@click.command("export", cls=Command)
@_query
@click.option("--id", "ids", metavar="ID", multiple=True, help="This one, in place of a query; also several times.")
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="The file.  [default: stdout]")
@click.option("--format", "kind", type=click.Choice(list(WRITERS)), help="[default: what the file's name ends with]")
@click.option("--sort", metavar="KEY", default="-created", show_default=True, help="As for `ls`.")
@click.option("--columns", metavar="NAMES", default="", help="As for `ls`.")
@click.option("--whole", is_flag=True, help="All of each, as JSON that `executions.read_export` reads back.")
@pass_session
def export_command(
    session: Session,
    query: tuple[str, ...],
    ids: tuple[str, ...],
    output: Path | None,
    kind: str | None,
    sort: str,
    columns: str,
    whole: bool,
) -> None:
    """Write executions that match, or are named, into a file.

    As CSV, as JSON, or as JSON lines.
    """
    kind = kind or (output.suffix[1:].lower() if output else "") or ("jsonl" if whole else "csv")
    if kind not in WRITERS:
        raise Problem(f"a file that ends with .{kind} is none of {', '.join(WRITERS)}; name one with --format")
    if whole and (columns or kind == "csv"):
        raise click.UsageError("--whole has no columns: it is written as json or jsonl")
    if ids and query:
        raise click.UsageError("give either a query or --id")
    asked, executions = " ".join(query), session.client.executions
    with pointing_into(asked):
        names = () if whole else parse_columns(columns) or SUMMARY
        found, missing = executions.named(ids) if ids else (executions.iterate(asked or None, sort, names), ())
        if whole and not ids:
            found = executions.whole(one.id for one in found)
        _written(session, export(kind, found, names, missing), output)
    if missing:
        raise Problem(f"nobody has {', '.join(missing)}: unknown, or removed after the retention; all others are there")


def _written(session: Session, pieces: Iterator[str], output: Path | None) -> None:
    if output is None:
        for piece in pieces:
            session.write(piece.removesuffix("\n"))
        return
    try:
        # Under another name until it is whole: half of an export must not look like one.
        unfinished = output.with_name(f"{output.name}.part")
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            file.writelines(pieces)
        unfinished.replace(output)
    except OSError as error:
        raise Problem(f"{output} cannot be written: {error.strerror}") from error
    session.hint(f"written to {output}")
