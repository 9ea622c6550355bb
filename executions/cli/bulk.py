"""`bulk`: what is done to many executions at once: how far it is, and its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
from rich.padding import Padding
from rich.text import Text

from executions.bulk import Bulk, BulkPlan, BulkState
from executions.cli import render
from executions.cli.commands import Group
from executions.cli.documents import plain
from executions.cli.problems import FAILED
from executions.cli.render import Column, Cut
from executions.cli.session import Session, pass_session
from executions.errors import WaitTimeout

_id = click.argument("bulk_id", metavar="ID")
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")

#: Seconds between two looks at how far it is, on a terminal.
LOOK_S = 0.5

_STYLES = {
    BulkState.RUNNING: "blue", BulkState.DONE: "green", BulkState.CANCELLED: "yellow", BulkState.FAILED: "red",
}  # fmt: skip


def _state(bulk: Bulk) -> Text:
    return Text(bulk.state, _STYLES[bulk.state])


def _left(bulk: Bulk) -> int:
    return sum(bulk.skipped.values())


def _which(bulk: Bulk) -> str:
    order = bulk.order
    return f"{len(order.ids)} ids" if order.query is None else order.query or "all"


_COLUMNS = (
    Column("ID", lambda bulk: bulk.id),
    Column("STATE", _state),
    Column("ACTION", lambda bulk: str(bulk.order.action)),
    Column("DONE", lambda bulk: str(bulk.done), right=True),
    Column("LEFT", lambda bulk: str(_left(bulk)), right=True),
    Column("FAILED", lambda bulk: str(sum(bulk.failed.values())), right=True),
    Column("AGE", lambda bulk: render.age(bulk.created), right=True),
    Column("BY", lambda bulk: bulk.principal, wide_from=120, cut=Cut.END),
    Column("WHICH", _which, wide_from=100, cut=Cut.END),
)


@click.group(cls=Group, invoke_without_command=True)
@click.pass_context
def bulk(ctx: click.Context) -> None:
    """Follow what is done to many at once, and end it."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_bulks)


@bulk.command("list")
@_json
@pass_session
def list_bulks(session: Session, as_json: bool = False) -> None:
    """List the newest bulks."""
    found = session.client.bulk.list()
    if as_json:
        session.json([document(one) for one in found])
    elif found:
        render.table(session.out, _COLUMNS, found)
    else:
        session.hint("no bulks yet; `executions rerun --query QUERY` starts one")


@bulk.command("show")
@_id
@_json
@pass_session
def show_bulk(session: Session, bulk_id: str, as_json: bool) -> None:
    """Show how far a bulk is, and what went wrong."""
    _print(session, session.client.bulk.get(bulk_id), as_json)


@bulk.command("wait")
@_id
@_json
@pass_session
def wait_for_bulk(session: Session, bulk_id: str, as_json: bool) -> None:
    """Wait for the end of a bulk, and help meanwhile."""
    done = carried(session, session.client.bulk.get(bulk_id))
    _print(session, done, as_json)
    if done.failed or done.state is BulkState.FAILED:
        raise click.exceptions.Exit(FAILED)


@bulk.command("cancel")
@_id
@_json
@pass_session
def cancel_bulk(session: Session, bulk_id: str, as_json: bool) -> None:
    """Have a bulk go no further; what it has in hand is finished."""
    _print(session, session.client.bulk.cancel(bulk_id), as_json)


def carried(session: Session, started: Bulk) -> Bulk:
    """Wait for the end of a bulk and carry it out; on a terminal, show how far it is."""
    try:
        if not session.err.is_terminal:
            return started.wait()
        with session.err.status(_progress(started), spinner="dots") as spinner:
            while True:
                try:
                    return started.wait(LOOK_S)
                except WaitTimeout:
                    spinner.update(_progress(started.refresh()))
    except KeyboardInterrupt:
        where = f"`executions bulk wait {started.id}`, or `cancel`"
        session.err.print(f"it goes on where a worker, or the page, is there; {where}")
        raise


def _progress(bulk: Bulk) -> str:
    return f"{bulk.order.action}: {bulk.reached:,}" + (f" of {bulk.target:,}" if bulk.target is not None else "")


def planned(plan: BulkPlan) -> dict[str, Any]:
    """Give a plan as data; the names are those of a bulk."""
    return {
        "action": plan.order.action, "dry_run": True, "matched": plan.matched, "eligible": plan.eligible,
        "skipped": plan.others, "complete": plan.complete,
    }  # fmt: skip


def document(bulk: Bulk) -> dict[str, Any]:
    """Give a bulk as data."""
    same = ("id", "principal", "state", "created", "finished", "total", "looked", "done", "skipped", "failed",
            "failures", "gone", "cancelled_by", "message", "query")  # fmt: skip
    order = bulk.order
    return {
        "action": order.action, "q": order.query, "ids": len(order.ids), "limit": order.limit, "reason": order.reason,
        **{name: plain(getattr(bulk, name)) for name in same},
    }  # fmt: skip


def _print(session: Session, bulk: Bulk, as_json: bool) -> None:
    if as_json:
        session.json(document(bulk))
        return
    session.print(Text.assemble((f"{bulk.order.action} ", "bold"), render.safe(_which(bulk)), "  ", _state(bulk)))
    session.print(Padding(render.facts(_facts(session, bulk)), (0, 0, 0, 2), expand=False))
    for one, said in bulk.failures:
        session.print(f"  {one}  {render.safe(said)}")


def _facts(session: Session, bulk: Bulk) -> Iterator[tuple[str, str | Text | None]]:
    yield "id", bulk.id
    yield "why", bulk.order.reason
    yield "started by", bulk.principal
    yield "started", render.when(bulk.created, session.out)
    yield "ended", render.when(bulk.finished, session.out)
    yield "cancelled by", bulk.cancelled_by
    yield "message", bulk.message
    yield "done", f"{bulk.done:,}" + (f" of {bulk.target:,}" if bulk.target is not None else "")
    for why, many in bulk.skipped.items():
        yield why, f"{many:,}"
    yield "matched no more", f"{bulk.gone:,}" if bulk.gone else None
    for kind, many in bulk.failed.items():
        yield kind, f"{many:,}"
    yield "find them", bulk.query if bulk.done else None
