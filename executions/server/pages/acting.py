"""What is done to one execution: stop, rerun, relaunch. Each is a form, and its answer leads back to a page."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from executions.errors import Conflict, InvalidInput
from executions.server.pages.detail import show
from executions.server.pages.site import PageRoute, Sent, redirect
from executions.server.pages.words import ends
from executions.server.security.require import Operating
from executions.states import Reason

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.post("/executions/{execution_id}/terminate", name="terminate_execution")
def terminate(request: Request, client: Operating, execution_id: str, sent: Sent) -> Response:
    """Ask for a stop: at a checkpoint, after a grace period, or at once."""
    mode, grace = sent.get("mode", "checkpoint"), sent.text("grace")
    if mode == "grace" and not grace.isdecimal():
        raise InvalidInput(f"the grace period is a whole number of seconds, not {grace[:20]!r}")
    execution = client.executions.get(execution_id)
    refused = ""
    if execution.is_done:
        refused = f"It had already ended as {execution.status}; there is nothing to stop."
    elif sent.text("ends") not in ("", str(ends(execution))):
        refused = "It had ended, and somebody has rerun it since you opened this page; stop that too if you mean it."
    if refused:
        return show(request, client, execution_id, 409, refused)
    after = execution.terminate(
        cause=sent.text("cause"), force=mode == "force", grace=float(grace) if mode == "grace" else None
    )
    # What ran may have stopped by the time that it is looked at again.
    done = "cancel" if after.reason is Reason.CANCELLED else "terminate"
    return redirect(request, f"/executions/{execution_id}", done=done, **{"in": sent.get("in")})


@router.post("/executions/{execution_id}/rerun", name="rerun_execution")
def rerun(request: Request, client: Operating, execution_id: str, sent: Sent) -> Response:
    """Run it once more under the same id."""
    execution = client.executions.get(execution_id)
    seen = sent.text("attempt")
    if seen and seen != str(execution.attempt):
        said = f"Somebody has rerun it since you opened this page: attempt {execution.attempt} is the newest by now."
        return show(request, client, execution_id, 409, said)
    try:
        execution.rerun()
    except Conflict as error:
        return show(request, client, execution_id, 409, str(error))
    return redirect(request, f"/executions/{execution_id}", done="rerun", **{"in": sent.get("in")})
