"""`note` and `edit`: what people write on executions, and change of their tags and properties."""

from __future__ import annotations

import sys
from typing import Any

import click
from rich.text import Text

from executions.cli import render
from executions.cli.commands import Command
from executions.cli.completion import ExecutionId
from executions.cli.documents import summary
from executions.cli.session import Session, pass_session
from executions.cli.values import Pair

_id = click.argument("execution_id", metavar="ID", type=ExecutionId())
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.command(cls=Command)
@_id
@click.argument("text", nargs=-1)
@_json
@pass_session
def note(session: Session, execution_id: str, text: tuple[str, ...], as_json: bool) -> None:
    """Add a note to an execution, or list its notes.

    Without a TEXT the notes are listed; - reads it from stdin. There is room for a hundred of 4,000 characters.
    """
    execution = session.client.executions.find(execution_id)
    if text:
        execution = execution.add_note(sys.stdin.read() if text == ("-",) else " ".join(text))
    if as_json:
        session.json(execution.notes)
    elif text:
        session.hint(f"{execution_id} has {execution.note_count} notes now")
    elif execution.notes:
        for one in execution.notes:
            head = f"{render.when(one.timestamp, session.out)}  {render.safe(one.principal)}"
            session.print(Text(head, style="dim"), Text(render.safe(one.text)))
    else:
        session.hint("no notes; `executions note ID TEXT` adds one")


@click.command(cls=Command)
@_id
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="A tag to add.")
@click.option("--remove-tag", "gone", metavar="TAG", multiple=True, help="A tag to take away.")
@click.option("--set", "pairs", type=Pair(), multiple=True, help="A property: JSON, or else text.")
@click.option("--remove", "without", metavar="NAME", multiple=True, help="A property to take away.")
@_json
@pass_session
def edit(
    session: Session,
    execution_id: str,
    tags: tuple[str, ...],
    gone: tuple[str, ...],
    pairs: tuple[tuple[str, Any], ...],
    without: tuple[str, ...],
    as_json: bool,
) -> None:
    """Change the tags and properties of an execution."""
    if not (tags or gone or pairs or without):
        raise click.UsageError("say what to change: --tag, --remove-tag, --set, --remove")
    execution = session.client.executions.find(execution_id)
    after = execution.update(tags=tags, remove_tags=gone, properties=dict(pairs), remove_properties=without)
    if as_json:
        session.json(summary(after) | {"properties": after.properties})
        return
    facts = [("tags", ", ".join(after.tags)), *((key, render.value_text(one)) for key, one in after.properties.items())]
    session.print(render.facts(facts))
