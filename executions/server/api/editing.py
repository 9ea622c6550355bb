"""What is changed of an execution by hand: its tags and properties, and notes on it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from pydantic import Field

from executions.server.api.acting import Body, Word
from executions.server.api.executions import Id
from executions.server.api.models import Detail, Note, notes_of
from executions.server.api.schema import CHANGED, PROBLEMS, TOO_LARGE, is_match
from executions.server.audit import describe
from executions.server.problems import Problem
from executions.server.security.require import Operating, Viewing

router = APIRouter(prefix="/api/v1/executions", tags=["executions"], responses=PROBLEMS | TOO_LARGE)

Words = Annotated[list[Word], Field(max_length=100)]


class Change(Body):
    """What to change of an execution."""

    tags: Words = Field(default=[], description="They are added.")
    remove_tags: Words = []
    properties: dict[str, Any] = Field(
        default={}, description="They are merged with those that are there. What has a secret's name is redacted."
    )
    remove_properties: Words = Field(default=[], description="Their names.")


class Remark(Body):
    """A note to add."""

    text: str = Field(min_length=1, max_length=5000, description="At most 4,000 characters without the space around.")


@router.patch("/{execution_id}", responses=CHANGED)
def change_execution(
    request: Request,
    response: Response,
    client: Operating,
    execution_id: Id,
    body: Change,
    if_match: Annotated[
        str | None, Header(description="The ETag of what was read; nothing is written where that is not so any more.")
    ] = None,
) -> Detail:
    """Change tags and properties, all of it or nothing; with `If-Match`, only what was read. Needs `operate`."""
    describe(request, changes_of(body.tags, body.remove_tags, body.properties, body.remove_properties))
    execution = client.executions.get(execution_id)
    fenced = if_match is not None and if_match.strip() != "*"
    if if_match is not None and not is_match(if_match, Detail.of(execution).etag):
        raise Problem("changed", f"execution {execution.id} is not any more what {if_match[:80]} stands for")
    changed = Detail.of(execution.update(**body.model_dump(), unless_changed=fenced))
    response.headers["ETag"] = changed.etag
    return changed


@router.get("/{execution_id}/notes")
def list_notes(client: Viewing, execution_id: Id) -> list[Note]:
    """Give what people wrote about it, oldest first. Needs `view`."""
    return notes_of(client.executions.get(execution_id))


@router.post("/{execution_id}/notes", status_code=201)
def add_note(request: Request, client: Operating, execution_id: Id, body: Remark) -> list[Note]:
    """Add a note, and give all of them; an execution has room for a hundred. Needs `operate`."""
    describe(request, body.text)
    return notes_of(client.executions.get(execution_id).add_note(body.text))


def changes_of(tags: Any, gone: Any, properties: Any, without: Any) -> str:
    """Say what changes, for the audit log; values of properties are not told."""
    told = [f"tag {tag}" for tag in tags] + [f"no tag {tag}" for tag in gone]
    return ", ".join([*told, *properties, *(f"no {name}" for name in without)])
