"""`terminate` and `rerun`: on executions by their ids, or on all that match a query."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click
from rich.text import Text

from executions.cli import render
from executions.cli.bulk import carry_out
from executions.cli.commands import Command
from executions.cli.completion import ExecutionId
from executions.cli.documents import summary
from executions.cli.problems import FAILED, problem
from executions.cli.session import Session, pass_session
from executions.cli.values import Seconds
from executions.errors import ExecutionsError
from executions.execution import Execution

_ids = click.argument("ids", metavar="[ID]...", nargs=-1, type=ExecutionId())
_query = click.option("--query", metavar="QUERY", help="All that match, in place of ids.")
_dry_run = click.option("--dry-run", is_flag=True, help="With --query: count, and change nothing.")
_yes = click.option("--yes", "-y", is_flag=True, help="With --query: neither count nor ask first.")
_cause = click.option("--cause", default="", help="Why; it is kept on the record.")
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.command(cls=Command)
@_ids
@_query
@click.option("--tree", is_flag=True, help="Each ID with everything that it started, directly or not.")
@click.option("--dry-run", is_flag=True, help="With --query or --tree: count, and change nothing.")
@_yes
@click.option("--force", is_flag=True, help="Kill at once.")
@click.option("--grace", type=Seconds(), help="Ask first, and kill after this time.")
@_cause
@_json
@pass_session
def terminate(
    session: Session,
    ids: tuple[str, ...],
    query: str | None,
    tree: bool,
    dry_run: bool,
    yes: bool,
    force: bool,
    grace: float | None,
    cause: str,
    as_json: bool,
) -> None:
    """Stop executions.

    Waiting ones never start. Running ones stop at their next checkpoint, then by an exception; with --grace
    they are killed after that time, with --force at once. Ended ones stay as they are.
    """
    _check(ids, query, dry_run=dry_run, tree=tree)
    if force and grace is not None:
        raise _misused("--force kills at once, so there is no --grace; choose one")
    executions = session.client.executions
    if tree:
        if grace is not None:
            raise _misused("--tree takes --force but no --grace")
        _each(session, ids, lambda one: _tree(executions, one, cause, force, dry_run), as_json, _told_tree)
    elif query is None:
        _each(
            session,
            ids,
            lambda one: executions.find(one).terminate(cause=cause, force=force, grace=grace),
            as_json,
            _told_stop,
        )
    else:
        carry_out(
            session, ("terminate", query, {"reason": cause, "force": force, "grace": grace}),
            dry_run=dry_run, yes=yes, as_json=as_json,
        )  # fmt: skip


@click.command(cls=Command)
@_ids
@_query
@_dry_run
@_yes
@_cause
@_json
@pass_session
def rerun(
    session: Session, ids: tuple[str, ...], query: str | None, dry_run: bool, yes: bool, cause: str, as_json: bool
) -> None:
    """Run executions once more that have ended.

    They keep their id, their inputs and their history, and get another attempt.
    """
    _check(ids, query, dry_run=dry_run)
    executions = session.client.executions
    if query is None:
        _each(session, ids, lambda one: executions.find(one).rerun(cause=cause), as_json, _told_rerun)
    else:
        carry_out(session, ("rerun", query, {"reason": cause}), dry_run=dry_run, yes=yes, as_json=as_json)


def _check(ids: Iterable[str], query: str | None, *, dry_run: bool, tree: bool = False) -> None:
    if bool(ids) == (query is not None):
        raise _misused("give either ids or --query")
    if tree and query is not None:
        raise _misused("--tree goes with ids")
    if dry_run and query is None and not tree:
        raise _misused("--dry-run goes with --query or --tree")


def _misused(text: str) -> click.UsageError:
    return click.UsageError(text, click.get_current_context())


def _each(
    session: Session,
    ids: Iterable[str],
    act: Callable[[str], Any],
    as_json: bool,
    tell: Callable[[Session, str, Any], None],
) -> None:
    """Act on one after the other; one that fails does not keep the others from it."""
    documents, failed = [], False
    for one in dict.fromkeys(ids):
        try:
            outcome = act(one)
        except ExecutionsError as error:
            if not as_json and len(tuple(ids)) == 1:
                raise
            told, failed = problem(error, click.get_current_context()), True
            documents.append({"id": one, "error": told.message})
            told.show()
            continue
        if as_json:
            documents.append(summary(outcome) if isinstance(outcome, Execution) else {"id": one, **vars(outcome)})
        else:
            tell(session, one, outcome)
    if as_json:
        session.json(documents)
    if failed:
        raise click.exceptions.Exit(FAILED)


def _told_stop(session: Session, one: str, now: Execution) -> None:
    if not now.is_done:
        session.print(f"{one}  asked to stop; it is {now.status}")
    elif now.stop_request is None:
        session.print(f"{one}  had ended already: {now.status}")
    else:
        session.print(Text.assemble(f"{one}  ", render.status_text(now)))


def _told_rerun(session: Session, one: str, now: Execution) -> None:
    session.print(f"{one}  {now.status}, attempt {now.awaits or now.attempt + 1}")


def _told_tree(session: Session, one: str, report: Any) -> None:
    verb = "would be asked" if report.dry_run else "asked"
    session.print(f"{one}  {report.done} of {report.matched} {verb} to stop")


def _tree(executions: Any, root: str, cause: str, force: bool, dry_run: bool) -> Any:
    return executions.terminate_tree(executions.find(root).id, cause=cause, force=force, dry_run=dry_run)
