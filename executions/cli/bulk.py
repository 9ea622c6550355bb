"""`bulk`: what is done to many executions at once: its start, how far it is, and its end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click
from rich.padding import Padding
from rich.text import Text

from executions.bulk import Action, Bulk, BulkPlan, BulkState
from executions.cli import render
from executions.cli.commands import Group
from executions.cli.documents import plain
from executions.cli.problems import FAILED, Misuse, Problem, pointing_into
from executions.cli.render import Column, Cut
from executions.cli.session import Session, pass_session
from executions.cli.values import Seconds
from executions.errors import WaitTimeout

_id = click.argument("bulk_id", metavar="ID")
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")

#: Seconds between two looks at how far it is, on a terminal.
LOOK_S = 0.5


@dataclass(frozen=True)
class Words:
    """How an action on many executions is spoken of."""

    which: str
    outcome: str


_WORDS = {
    Action.TERMINATE: Words("have not ended", "asked {} to stop"),
    Action.RERUN: Words("have ended", "{} run once more"),
    Action.RELAUNCH: Words("can be started anew", "{} started anew"),
    Action.TAG: Words("can be tagged", "{} tagged"),
}

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


@bulk.command("start")
@click.argument("action", type=click.Choice([one.value for one in Action]))
@click.argument("query", nargs=-1, required=True)
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="With tag: a tag to add.")
@click.option("--cause", default="", help="Why; it is kept with the bulk.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="How many are acted on at most.")
@click.option("--force", is_flag=True, help="With terminate: kill at once.")
@click.option("--grace", type=Seconds(), help="With terminate: ask first, and kill after this time.")
@click.option("--dry-run", is_flag=True, help="Count, and change nothing.")
@click.option("--yes", "-y", is_flag=True, help="Neither count nor ask first.")
@click.option("--detach", is_flag=True, help="Do not wait for its end: the workers, or the page, carry it out.")
@_json
@pass_session
def start_bulk(
    session: Session,
    action: str,
    query: tuple[str, ...],
    cause: str,
    dry_run: bool,
    yes: bool,
    detach: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Terminate, rerun, relaunch or tag all that match a query.

    The selection is fixed at the start: what is created later is not of it.
    """
    order = (action, " ".join(query), {"reason": cause, **options})
    carry_out(session, order, dry_run=dry_run, yes=yes, as_json=as_json, is_awaited=not detach)


@bulk.command("list")
@_json
@pass_session
def list_bulks(session: Session, as_json: bool = False) -> None:
    """List the newest bulks."""
    empty = "no bulks yet; `executions bulk start rerun QUERY` starts one"
    render.listing(session, _COLUMNS, session.client.bulk.list(), as_json=as_json, empty=empty, document=document)


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


def carry_out(
    session: Session,
    order: tuple[str, str, dict[str, Any]],
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    is_awaited: bool = True,
) -> None:
    """Count, ask, start a bulk, carry it out."""
    action, query, options = order
    if not query.strip():
        told = "an empty query would mean every execution; say which, such as status:pending"
        raise click.UsageError(told, click.get_current_context())
    with pointing_into(query):
        if dry_run or not yes:
            plan = session.client.bulk.plan(action, query, **options)
            if dry_run and as_json:
                session.json(planned(plan))
                return
            told = f"{plan.matched} match, {plan.eligible} of them {_WORDS[plan.order.action].which}"
            (session.print if dry_run else session.err.print)(told)
            if dry_run or not plan.eligible:
                return
            _ask(session, f"{action} {plan.eligible}?")
        started = session.client.bulk(action, query, **options)
    if is_awaited:
        _tell_end(session, carried(session, started), as_json)
    elif as_json:
        session.json(document(started))
    else:
        session.write(started.id)


def _ask(session: Session, question: str) -> None:
    if not session.is_interactive:
        raise Misuse("nobody is there to ask: give --yes to go on without, or --dry-run to count only")
    if not click.confirm(question, err=True):
        raise Problem("nothing was changed")


def _tell_end(session: Session, ended: Bulk, as_json: bool) -> None:
    if as_json:
        session.json(document(ended))
        return
    left, failed = _left(ended), sum(ended.failed.values())
    session.print(
        _WORDS[ended.order.action].outcome.format(ended.done)
        + (f", left {left} as they are" if left else "")
        + (f", failed for {failed}: see `executions bulk show {ended.id}`" if failed else "")
        + (f"; {ended.state} before its end {ended.message}".rstrip() if ended.state is not BulkState.DONE else "")
    )
    if failed or ended.state is not BulkState.DONE:
        raise click.exceptions.Exit(FAILED)


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
