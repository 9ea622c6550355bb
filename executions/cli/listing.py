"""`ls`: the executions that match, as a table, as JSON, as CSV or as ids."""

from __future__ import annotations

import re
from collections.abc import Sequence

import click

from executions.cli import documents, render
from executions.cli.commands import Command
from executions.cli.completion import FunctionName
from executions.cli.documents import rfc3339, summary
from executions.cli.problems import pointing_into
from executions.cli.render import Column, Cut
from executions.cli.session import Session, pass_session
from executions.cli.values import Statuses, since_query
from executions.execution import Execution
from executions.query.tree import quote

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
@click.option(
    "--sort", metavar="KEY", default="-created", show_default=True, help=f"{', '.join(SORTS)}; with - largest first."
)
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
    sort: str,
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
    asked = compose(" ".join(query), since, filters)
    with pointing_into(asked):
        most = None if as_json or as_csv or quiet else SCANNED
        items, after, scanned = gather(session, asked, (sort, limit, cursor), most)
    if as_json:
        session.json({"items": [summary(item) for item in items], "next_cursor": after})
    elif as_csv:
        session.write("".join(documents.as_csv(items)).removesuffix("\n"))
    elif quiet:
        session.lines(item.id for item in items)
    else:
        _show(session, items, asked, after)
        if scanned and after and len(items) < limit:
            # To everybody, not only where there is a terminal: a list that is not whole must not look like one.
            session.err.print(f"{scanned:,} records were read, as no index knows this; go on with --cursor {after}")


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
    session: Session, query: str | None, paging: tuple[str, int, str | None], most: int | None
) -> tuple[list[Execution], str | None, int]:
    """Read as many as were asked for, or all that is found among `most` records where these have to be looked at.

    A page may be shorter than it could be and still not be the last. Gives the rows, where they go on, and how many
    records were read.
    """
    sort, limit, cursor = paging
    items: list[Execution] = []
    scanned = 0
    while True:
        page = session.client.executions.list(query, sort=sort, limit=min(PAGE, limit - len(items)), cursor=cursor)
        items += page.items
        cursor, scanned = page.next_cursor, scanned + page.scanned
        if cursor is None or len(items) >= limit or (most is not None and scanned >= most):
            return items, cursor, scanned


def _show(session: Session, items: Sequence[Execution], query: str | None, after: str | None) -> None:
    if not items:
        session.hint(
            f"nothing matches {query}" if query else "no executions yet; start one with `executions run FUNCTION`"
        )
        return
    columns = COLUMNS if session.out.is_terminal else _PLAIN_COLUMNS
    render.table(session.out, columns, items)
    if after:
        session.hint(f"there are more: --limit {len(items) * 10}, or --cursor {after}")
