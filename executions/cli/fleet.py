"""`workers` and `functions`: who is there to run something, and what they know."""

from __future__ import annotations

from typing import Any

import click
from rich.text import Text

from executions.cli import render
from executions.cli.commands import Command, Group
from executions.cli.documents import plain
from executions.cli.render import Column, Cut
from executions.cli.session import Session, pass_session, session_of

_COLOURS = {"lost": "red", "stalled": "red", "draining": "yellow", "alive": "green"}


def _state(word: str) -> Text:
    return Text(word, _COLOURS[word])


def _fact(name: str) -> Any:
    return lambda worker: str(worker.facts.get(name, ""))


_COLUMNS = (
    Column("NAME", lambda worker: worker.name),
    Column("STATE", lambda worker: _state(worker.state)),
    Column("RUNS", lambda worker: f"{worker.facts.get('running', 0)}/{worker.facts.get('concurrency') or '?'}"),
    Column("POOL", _fact("pool")),
    Column("QUEUES", lambda worker: ",".join(worker.facts.get("queues") or ()), cut=Cut.END),
    Column("PID", _fact("pid"), wide_from=100, right=True),
    Column("VERSION", _fact("version"), wide_from=100),
)


@click.group(cls=Group, invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--quiet", "-q", is_flag=True, help="Only the names of those alive, one a line.")
@click.option("--safe-to-remove", is_flag=True, help="Only those that take nothing new and run nothing.")
@click.pass_context
def workers(ctx: click.Context, as_json: bool, quiet: bool, safe_to_remove: bool) -> None:
    """List the workers, those alive first; have one drain.

    RUNS is how many executions each runs, of how many it could.
    """
    if ctx.invoked_subcommand is not None:
        return
    session = session_of(ctx)
    found = session.client.workers.safe_to_remove() if safe_to_remove else session.client.workers.list()
    if quiet and not as_json:
        session.lines(worker.name for worker in found if worker.alive)
        return
    how = "`executions workers drain NAME` has one take nothing new"
    empty = f"none; {how}" if safe_to_remove else "no workers; `executions doctor` says how to start one"
    render.listing(session, _COLUMNS, found, as_json=as_json, empty=empty, document=_document)


_worker_names = click.argument("names", metavar="NAME...", nargs=-1, required=True)


@workers.command("drain")
@_worker_names
@click.option("--wait", is_flag=True, help="Return when nothing runs there any more.")
@click.option("--timeout", type=float, metavar="SECONDS", help="How long to wait at most.")
@pass_session
def drain_workers(session: Session, names: tuple[str, ...], wait: bool, timeout: float | None) -> None:
    """Let workers take nothing new; what runs goes on.

    What they have not started goes to others at once.
    """
    for name in names:
        session.client.workers.drain(name)
    for name in names if wait else ():
        session.client.workers.drain(name, wait=True, timeout=timeout)
        session.write(name)


@workers.command("resume")
@_worker_names
@pass_session
def resume_workers(session: Session, names: tuple[str, ...]) -> None:
    """Have workers that drain take work again."""
    for name in names:
        session.client.workers.resume(name)


def _document(worker: Any) -> dict[str, Any]:
    document: dict[str, Any] = plain(worker)
    return {**document.pop("facts"), **document}


_FUNCTION_COLUMNS = (
    Column("NAME", lambda function: function.name),
    Column("STATE", lambda function: _state("alive" if function.alive else "lost")),
    Column("TAKES", lambda function: _takes(function), cut=Cut.END),
    Column("SERVICE", lambda function: function.service or ""),
    Column("QUEUE", lambda function: function.queue or "", cut=Cut.END),
    Column("ABOUT", lambda function: function.about, wide_from=120, cut=Cut.END),
)


def _takes(function: Any) -> str:
    return "?" if function.parameters is None else ", ".join(map(_takes_one, function.parameters.each))


def _takes_one(one: Any) -> str:
    """Write a parameter as its function's head has it."""
    name = {"var_positional": "*", "var_keyword": "**"}.get(one.kind, "") + one.name
    says = f"{name}: {one.annotation}" if one.annotation else name
    if not one.default:
        return says if one.required or name != one.name else f"{says}=..."
    return f"{says} = {one.default}" if one.annotation else f"{says}={one.default}"


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_session
def functions(session: Session, as_json: bool) -> None:
    """List the functions that workers know.

    A function is lost when no worker has told of it for some minutes; after three days it is forgotten.
    """
    found, empty = session.client.functions.list(), "no functions yet; workers tell of theirs when they start"
    render.listing(session, _FUNCTION_COLUMNS, found, as_json=as_json, empty=empty, document=_function_document)


def _function_document(function: Any) -> dict[str, Any]:
    told = {"told_by": function.told_by, "told": plain(function.told), "alive": function.alive}
    document: dict[str, Any] = {"name": function.name, **plain(function.as_dict()), **told}
    document["parameters"] = None if function.parameters is None else [plain(one) for one in function.parameters.each]
    document.pop("places", None)
    return document
