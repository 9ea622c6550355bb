"""What is done to many executions at once, those ticked or all that match: first a look, then a bulk with its page."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from executions.bulk import Action, BulkPlan, Order
from executions.client import Client
from executions.errors import InvalidInput
from executions.execution import Execution
from executions.server.audit import describe
from executions.server.carrying import carrying_of, looked_at
from executions.server.pages.asked import Asked
from executions.server.pages.search import term
from executions.server.pages.site import Form, PageRoute, Sent, back_to, redirect, render
from executions.server.security.require import Operating, Viewing
from executions.states import Status

router = APIRouter(route_class=PageRoute, include_in_schema=False)

#: Executions that are shown of those that would be acted on, and read to find them.
SHOWN = 12
READ = 50

#: Bulks that are listed.
LISTED = 100

#: What each action is called on a button, and what becomes of each execution.
WORDS = {
    Action.TERMINATE: ("Terminate", "Those that wait never start; those that run are asked to stop."),
    Action.RERUN: ("Rerun", "Each keeps its id and gets one more attempt."),
    Action.RELAUNCH: ("Relaunch", "Each stays as it is, and a new one with the same inputs is launched."),
    Action.TAG: ("Tag", "Tags are added to each; nothing else changes."),
}


@router.get("/bulk")
def bulks(request: Request, client: Viewing) -> Response:
    """List the bulks, the newest first."""
    return render(request, "bulks.html", bulks=client.bulk.list(LISTED), words=WORDS)


@router.post("/bulk", name="start_bulk")
def start(request: Request, client: Operating, sent: Sent) -> Response:
    """Say what would be done; or, once that is confirmed, start it."""
    action, back = sent.text("action"), back_to(request, sent.get("back"), "/executions")
    if action not in list(Action):
        raise InvalidInput(f"executions can be terminated, rerun, relaunched or tagged, not {action[:40]!r}")
    which, given = _which(sent), _given(Action(action), sent)
    told = which["query"] if which["ids"] is None else f"{len(which['ids'])} ids"
    describe(request, f"{action} {told}: a look")
    plan = client.bulk.plan(action, **which, **given)
    if sent.get("confirmed") and plan.eligible:
        bulk = client.bulk(action, **which, **given)
        describe(request, f"{action} {told}, bulk {bulk.id}")
        carrying_of(request).wake()
        return redirect(request, f"/bulk/{bulk.id}", back=back)
    verb, outcome = WORDS[plan.order.action]
    return render(
        request,
        "bulk_plan.html",
        plan=plan,
        order=plan.order,
        verb=verb,
        outcome=outcome,
        sample=_sample(client, plan),
        back=back,
        asked=Asked(),
    )


@router.get("/bulk/{bulk_id}")
def bulk(request: Request, client: Viewing, bulk_id: str) -> Response:
    """Show how far one is."""
    found = looked_at(request, client, bulk_id)
    return render(
        request,
        "bulk.html",
        bulk=found,
        order=found.order,
        verb=WORDS[found.order.action][0],
        back=back_to(request, request.query_params.get("back"), "/bulk"),
        url_of_done=Asked(q=found.query).url(),
    )


@router.post("/bulk/{bulk_id}/cancel", name="cancel_bulk")
def cancel(request: Request, client: Operating, bulk_id: str) -> Response:
    """Ask for it to go no further."""
    client.bulk.cancel(bulk_id)
    carrying_of(request).wake()
    return redirect(request, f"/bulk/{bulk_id}")


def _which(sent: Form) -> dict[str, Any]:
    if sent.get("every"):
        return {"query": sent.text("q"), "ids": None}
    ids = sent.all("id")
    if not ids:
        raise InvalidInput("nothing was selected; tick the executions in the list first")
    return {"query": None, "ids": ids}


def _given(action: Action, sent: Form) -> dict[str, Any]:
    given: dict[str, Any] = {"reason": sent.text("reason")[:1000]}
    if limit := sent.text("limit"):
        if not limit.isdecimal() or not int(limit[:12]) > 0:
            raise InvalidInput(f"how many is a whole number above zero, not {limit[:20]!r}")
        given["limit"] = int(limit[:12])
    if action is Action.TERMINATE:
        given["force"] = bool(sent.get("force"))
    if action is Action.TAG:
        given["tags"] = tuple(tag.strip()[:300] for tag in sent.text("tags").split(",") if tag.strip())[:100]
    return given


def _sample(client: Client, plan: BulkPlan) -> list[Execution]:
    """Give some of those that would be acted on."""
    order: Order = plan.order
    able = term("status", *(status for status in Status if not order.why_not_status(status)))
    which = term("id", *order.ids[:READ]) if order.query is None else order.query
    found = client.executions.list(f"({which}) AND {able}" if which else able, limit=READ)
    return [one for one in found if not order.why_not(one)][:SHOWN]
