"""`ls`: the executions that match, as a table, as JSON, as CSV or as ids."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

import click
from rich.text import Text

from executions.cli import documents, render
from executions.cli.commands import Command
from executions.cli.completion import FunctionName
from executions.cli.documents import rfc3339, summary
from executions.cli.problems import pointing_into
from executions.cli.render import Column, Cut
from executions.cli.session import Output, Session, pass_session, to_json
from executions.cli.values import Statuses, since_query
from executions.columns import SUMMARY, Kind, find_column, parse_columns
from executions.execution import Execution, human_duration
from executions.query.tree import quote
from executions.view import View

#: What is asked for at once; a longer list is read in pieces.
PAGE = 500

#: Records that are looked at for a table where no index knows the answer; lists for programs go on to the end.
SCANNED = 20_000

SORTS = ("created", "started", "finished", "duration")

#: A query that the options would narrow only in part without parentheses.
_EITHER = re.compile(r"\bor\b", re.IGNORECASE)

#: Width of a terminal from which on a status shows its reason.
_ROOMY = 100

COLUMNS = (
    Column("ID", lambda e: e.id),
    Column("STATUS", render.short_status, wide_to=_ROOMY),
    Column("STATUS", render.status_text, wide_from=_ROOMY),
    Column("FUNCTION", lambda e: e.function, cut=Cut.BEGINNING),
    Column("AGE", lambda e: render.age(e.created), right=True),
    Column("TOOK", render.took, right=True),
    Column("TRY", lambda e: str(e.attempt), wide_from=100, right=True),
    Column("NAME", lambda e: e.name or "", wide_from=120, cut=Cut.END),
    Column("QUEUE", lambda e: e.queue or "", wide_from=140, cut=Cut.END),
    Column("WORKER", lambda e: e.worker or "", wide_from=160, cut=Cut.END),
    Column("TAGS", lambda e: ", ".join(e.tags), wide_from=160, cut=Cut.END),
    Column("MESSAGE", lambda e: e.message, wide_from=180, cut=Cut.END),
)

#: Read by programs that cut lines into words: nothing may hold a space, no time may depend on now.
_PLAIN_COLUMNS = (
    Column("ID", lambda e: e.id),
    Column("STATUS", lambda e: e.status.value),
    Column("REASON", lambda e: e.reason or "-"),
    Column("FUNCTION", lambda e: e.function),
    Column("CREATED", lambda e: rfc3339(e.created)),
    Column("SECONDS", lambda e: "-" if e.duration is None else f"{e.duration:.3f}", right=True),
    Column("TRY", lambda e: str(e.attempt), right=True),
    Column("QUEUE", lambda e: e.queue or "-"),
)


@click.command(cls=Command)
@click.argument("query", nargs=-1)
@click.option("--status", "-s", type=Statuses(), multiple=True, help="Only these; also several with commas.")
@click.option("--function", "-f", type=FunctionName(), multiple=True, help="Only of these functions.")
@click.option("--queue", multiple=True, help="Only of these queues.")
@click.option("--since", metavar="TIME", help="Created since: 30m, 2h, 7d ago, or 2026-01-31, today.")
@click.option("--view", metavar="NAME", help="What a saved view shows, see `executions views`.")
@click.option("--columns", metavar="NAMES", help="With commas between: number,status,property.lr,metric.loss,created.")
@click.option("--sort", metavar="KEY", help=f"{', '.join(SORTS)}; with - largest first.  [default: -created]")
@click.option("--limit", "-n", type=click.IntRange(1), default=50, show_default=True, help="How many at most.")
@click.option("--cursor", metavar="TEXT", help="Go on where an earlier list ended.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document: items and next_cursor.")
@click.option("--csv", "as_csv", is_flag=True, help="Comma-separated values with a header.")
@click.option("--quiet", "-q", is_flag=True, help="Only the ids, one a line.")
@pass_session
def ls(
    session: Session,
    query: tuple[str, ...],
    since: str | None,
    view: str | None,
    columns: str | None,
    sort: str | None,
    limit: int,
    cursor: str | None,
    as_json: bool,
    as_csv: bool,
    quiet: bool,
    **filters: tuple[str, ...],
) -> None:
    """List executions, the newest first.

    QUERY is in the search language, such as status:failed (queue:gpu OR tag:nightly) property.epochs>10, and the
    options narrow it further. What the shell would change needs quotes: 'duration:>5s'.
    """
    if as_json + as_csv + quiet > 1:
        raise click.UsageError("choose one of --json, --csv and --quiet", click.get_current_context())
    saved = session.client.views.get(view) if view else View(id="", name="")
    asked = compose(_both(saved.query, " ".join(query)), since, filters)
    names = parse_columns(saved.columns if columns is None else columns)
    with pointing_into(asked):
        most = None if as_json or as_csv or quiet else SCANNED
        items, after, scanned = gather(session, asked, (sort or saved.sort, limit, cursor), most, names)
    if as_json:
        session.json({"items": [summary(item, names or SUMMARY) for item in items], "next_cursor": after})
    elif as_csv:
        rows = documents.summaries(items, names or SUMMARY)
        session.write("".join(documents.as_csv(rows, names or SUMMARY)).removesuffix("\n"))
    elif quiet:
        session.lines(item.id for item in items)
    else:
        _show(session, items, asked, after, names)
        if scanned and after and len(items) < limit:
            # To everybody, not only where there is a terminal: a list that is not whole must not look like one.
            session.err.print(f"{scanned:,} records were read, as no index knows this; go on with --cursor {after}")


def _both(first: str, second: str) -> str:
    parts = [f"({part})" if _EITHER.search(part) else part for part in (first.strip(), second.strip()) if part]
    return " AND ".join(parts) if len(parts) > 1 else (first or second)


def compose(query: str, since: str | None, filters: dict[str, tuple[str, ...]]) -> str | None:
    """Put the query together: what was written first, so that places in it stay close to where they are."""
    parts = [query.strip()] if query.strip() else []
    if parts and _EITHER.search(query) and (since or any(filters.values())):
        parts = [f"({parts[0]})"]
    for field, given in filters.items():
        values = [value for text in given for value in (text.split(",") if field == "status" else [text])]
        if values:
            parts.append(f"{field}:{','.join(value if field == 'status' else quote(value) for value in values)}")
    if since:
        parts.append(since_query(since))
    return " AND ".join(parts) or None


def gather(
    session: Session,
    query: str | None,
    paging: tuple[str, int, str | None],
    most: int | None,
    columns: Sequence[str] = (),
) -> tuple[list[Execution], str | None, int]:
    """Read as many as were asked for, or all that is found among `most` records where these have to be looked at.

    A page may be shorter than it could be and still not be the last. Gives the rows, where they go on, and how many
    records were read.
    """
    sort, limit, cursor = paging
    items: list[Execution] = []
    scanned = 0
    while True:
        size = min(PAGE, limit - len(items))
        page = session.client.executions.list(query, sort=sort, limit=size, cursor=cursor, columns=columns)
        items += page.items
        cursor, scanned = page.next_cursor, scanned + page.scanned
        if cursor is None or len(items) >= limit or (most is not None and scanned >= most):
            return items, cursor, scanned


def _column(name: str, out: Output) -> Column:
    """Give a chosen column as tables draw it."""
    column = find_column(name)
    title = column.name.upper() if column.kind is Kind.ANY else column.name.replace("_", " ").upper()

    def cell(execution: Execution) -> Text | str:
        value = column.value(execution)
        if name == "status" and out.is_terminal:
            return render.short_status(execution)
        if isinstance(value, datetime):
            return render.age(value) if out.is_terminal else rfc3339(value)
        if value is None or value in ("", ()):
            return "" if out.is_terminal else "-"
        if column.kind is Kind.SECONDS:
            return human_duration(value) if out.is_terminal else f"{value:.3f}"
        return ",".join(value) if column.kind is Kind.WORDS else value if isinstance(value, str) else to_json(value)

    right = column.kind in (Kind.NUMBER, Kind.SECONDS, Kind.TIME)
    return Column(title, cell, right=right, cut=Cut.NEVER if name == "id" else Cut.END)


def _show(
    session: Session, items: Sequence[Execution], query: str | None, after: str | None, names: Sequence[str]
) -> None:
    if not items:
        session.hint(
            f"nothing matches {query}" if query else "no executions yet; start one with `executions run FUNCTION`"
        )
        return
    usual = COLUMNS if session.out.is_terminal else _PLAIN_COLUMNS
    columns = [_column(name, session.out) for name in names] or usual
    render.table(session.out, columns, items)
    if after:
        session.hint(f"there are more: --limit {len(items) * 10}, or --cursor {after}")
