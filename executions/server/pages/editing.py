"""What is changed of an execution by hand: its tags and properties, and notes on it."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from executions.errors import Changed, InvalidInput
from executions.server.audit import describe
from executions.server.pages.detail import show
from executions.server.pages.edited import EditForm, changes, seen_of
from executions.server.pages.site import PageRoute, Sent, redirect
from executions.server.security.require import Operating

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_CHANGED = (
    "Its tags or properties have changed since you opened the form. What is in force now is shown; what you typed "
    "stands in the form below and was not saved. Saving it now is meant for what is there now."
)


@router.post("/executions/{execution_id}/edit", name="edit_execution")
def edit(request: Request, client: Operating, execution_id: str, sent: Sent) -> Response:
    """Change tags and properties, unless somebody else has meanwhile."""
    execution = client.executions.get(execution_id)
    wanted = changes(execution, sent)
    describe(request, ", ".join(f"{what}: {', '.join(names)}" for what, names in wanted.items() if names))
    form = EditForm.sent(execution, sent)
    if sent.get("seen") != seen_of(execution):
        return show(request, client, execution_id, 412, _CHANGED, form=form)
    try:
        if any(wanted.values()):
            execution.update(**wanted, unless_changed=True)
    except Changed:
        return show(request, client, execution_id, 412, _CHANGED, form=form)
    except InvalidInput as error:
        return show(request, client, execution_id, 422, f"That cannot be saved: {error}.", form=form)
    return redirect(request, f"/executions/{execution_id}", done="edit", **{"in": sent.get("in")})


@router.post("/executions/{execution_id}/notes", name="note_execution")
def note(request: Request, client: Operating, execution_id: str, sent: Sent) -> Response:
    """Add a note."""
    text = sent.text("text")
    describe(request, text)
    try:
        client.executions.get(execution_id).add_note(text)
    except InvalidInput as error:
        return show(request, client, execution_id, 422, f"The note was not kept: {error}.", note=text)
    answer = redirect(request, f"/executions/{execution_id}", done="note", **{"in": sent.get("in")})
    answer.headers["location"] += "#notes"
    return answer
