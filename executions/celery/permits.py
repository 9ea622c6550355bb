"""Places in a service, as the runner asks for them before an attempt starts and gives them back after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery.exceptions import Ignore

from executions import parking
from executions.celery import endings
from executions.celery.publish import record_received
from executions.celery.site import Site
from executions.errors import ExecutionsError
from executions.registry.services import Permit
from executions.registry.transitions import Found, Missing
from executions.slots import service_token
from executions.states import Status

if TYPE_CHECKING:
    from executions.celery.runner import Attempt


def ask(site: Site, task: Any, request: Any, named: int | None) -> Permit | None:
    """Ask the service of a task for a place; where there is none, the execution waits without a worker."""
    service = getattr(task, "service", None)
    if not service:
        return None
    if request.is_eager:
        # It runs in its caller, who waits for it: there is nothing to wait with.
        state = site.services.state(service)
        return Permit(True, version=state.version if state else None)
    permit = site.services.enter(service, request.id, named or 0)
    if permit.granted:
        return permit
    outcome = site.transitions.park(request.id, message=permit.why, attempt=named, service=service)
    if isinstance(outcome, Missing):
        record_received(site, task, request)
        outcome = site.transitions.park(request.id, message=permit.why, attempt=named, service=service)
    if isinstance(outcome, Found):
        if outcome.status is not Status.PENDING:
            site.services.unpark(service, [request.id])
        endings.announce_refused(task, outcome)
    raise Ignore(permit.why)


def give_up(site: Site, service: str, permit: Permit, outcome: Any, attempt: int) -> None:
    """Give back the slot of an attempt that was refused at its start."""
    runs = isinstance(outcome, Found) and outcome.status is Status.RUNNING and outcome.attempt == attempt
    # Where this very attempt runs already, the slot is its own: it started between our two steps.
    if permit.fresh and not runs:
        parking.release(site, service, permit.ticket)


def belong(attempt: Attempt, permit: Permit | None) -> None:
    """Say under which version of its service an attempt runs, to its worker's parent too."""
    if permit is None:
        return
    attempt.permit = permit
    if permit.version:
        attempt.running.extra["service_version"] = permit.version
        token = service_token(attempt.task.service)
        attempt.site.here.slots.belong(attempt.running.slot, token, permit.version)


def leave(attempt: Attempt) -> None:
    """Give the slot of an attempt back, and send on the next execution that waits for one."""
    if attempt.permit is None or attempt.request.is_eager:
        return
    ticket, service = attempt.permit.ticket, attempt.task.service
    if not ticket and _is_limited(attempt.site, service):
        # It started before there was a limit, and counts since.
        ticket = f"{attempt.request.id}/{attempt.started.attempt}"
    if ticket:
        parking.release(attempt.site, service, ticket)


def _is_limited(site: Site, service: str) -> bool:
    try:
        state = site.services.state(service)
    except ExecutionsError:
        return False
    return state is not None and state.settings.concurrency is not None
