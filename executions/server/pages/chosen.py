"""What is done to many executions at once, those ticked or all that match: first a look, then the act."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from fastapi import APIRouter, Request, Response

from executions.client import Client
from executions.errors import Conflict, InvalidInput, NotFound
from executions.execution import Execution
from executions.server.audit import describe
from executions.server.pages.listing import SIZES, Asked
from executions.server.pages.site import Form, PageRoute, Sent, back_to, redirect, render
from executions.server.security.require import Operating
from executions.states import Reason

router = APIRouter(route_class=PageRoute, include_in_schema=False)

ACTIONS = ("terminate", "rerun")

#: Executions that one form acts on while somebody waits; for more there is Python and the command line.
MOST = 5000


@router.post("/executions/chosen", name="act_on_many")
def chosen(request: Request, client: Operating, sent: Sent) -> Response:
    """Say what would be done; or, once that is confirmed, do it."""
    action, back = sent.text("action"), back_to(request, sent.get("back"), "/executions")
    if action not in ACTIONS:
        raise InvalidInput(f"executions can be terminated or rerun, not {action[:40]!r}")
    found = _found(client, sent)
    able = [one for one in found if _is_able(action, one)]
    describe(request, f"{action} {len(able)}" if sent.get("confirmed") else f"{action}: a look")
    if sent.get("confirmed") and able:
        done = sum(_act(action, one, sent) for one in able)
        return redirect(request, back, done=action, n=done, skipped=len(able) - done or "")
    return render(
        request,
        "chosen.html",
        action=action,
        found=found,
        able=able,
        ids=sent.all("id"),
        q=sent.text("q") if sent.get("every") else "",
        every=bool(sent.get("every")),
        most=MOST,
        back=back,
        asked=Asked(),
    )


def _found(client: Client, sent: Form) -> Sequence[Execution]:
    if sent.get("every"):
        # The list said how many that were; one more tells that they are too many.
        return list(islice(client.executions.iterate(sent.text("q") or None), MOST + 1))
    ids = sent.all("id")
    if not ids:
        raise InvalidInput("nothing was selected; tick the executions in the list first")
    return list(_read(client, ids[: SIZES[-1]]))


def _read(client: Client, ids: Iterable[str]) -> Iterable[Execution]:
    for one in dict.fromkeys(ids):
        try:
            yield client.executions.get(one)
        except NotFound:
            continue


def _is_able(action: str, execution: Execution) -> bool:
    if action == "rerun":
        return execution.is_done
    return not execution.is_done and execution.reason is not Reason.TERMINATING


def _act(action: str, execution: Execution, sent: Form) -> bool:
    try:
        if action == "rerun":
            execution.rerun()
        else:
            execution.terminate(cause=sent.text("cause"), force=bool(sent.get("force")))
    except (Conflict, NotFound):
        return False  # it moved on meanwhile
    return True
