"""What becomes of an attempt whose child process is gone: killed on request, for its time, or by something else."""

from __future__ import annotations

import logging
from typing import Any

from celery.exceptions import WorkerLostError

from executions import context, parking
from executions.celery import endings
from executions.celery.policies import policy_of
from executions.celery.site import Site
from executions.dispatch import HEADER
from executions.errors import ExecutionsError, Reset, TimedOut
from executions.policy import Retry, after_reset
from executions.registry.transitions import Opened
from executions.slots import Stop
from executions.states import Reason
from executions.telemetry import log

logger = logging.getLogger(__name__)


def settle_loss(site: Site, request: Any) -> None:
    """Record the end of a request's attempt, and send it out again where the policy says so.

    May be called twice, from the thread that saw the child end and from Celery's own notice: the second
    finds the attempt closed.
    """
    attempt = (request.request_dict.get(HEADER) or {}).get("attempt") or 1
    try:
        if request.killed is Stop.TERMINATE:
            site.transitions.finish(request.id, attempt, endings.stopped([]))
            request.settled = "terminated"
            return
        error = loss_of(site, request)
        policy = policy_of(site, request.id)
        if policy is not None and isinstance(after_reset(policy, attempt), Retry):
            ended = endings.error_fields(error)
            outcome = site.transitions.retry(request.id, attempt, reason=Reason.RERUN, message=str(error), ended=ended)
            if isinstance(outcome, Opened):
                site.dispatcher.republish(site.space, request.id)
                request.settled = "rerun"
                log(logger, "execution.rescued", id=request.id, attempt=attempt, why=error)
    except ExecutionsError:
        log(logger, "execution.unrecorded", id=request.id, attempt=attempt, exc_info=True)
    finally:
        _leave_service(site, request, attempt)


def _leave_service(site: Site, request: Any, attempt: int) -> None:
    """Give back the slot that the child held, if it held one and has not given it back itself."""
    service = getattr(request.task, "service", None)
    if service:
        parking.release(site, service, f"{request.id}/{attempt}")


def loss_of(site: Site, request: Any) -> Exception:
    """Give the error that stands for the loss."""
    if request.killed is Stop.TIMEOUT:
        policy = policy_of(site, request.id)
        limit = policy.execution_timeout if policy else None
        return TimedOut(f"{context.TIMEOUT_MESSAGE}: execution_timeout of {limit} s (killed)")
    if request.killed is Stop.RESET:
        return Reset(f"{context.RESET_MESSAGE} (killed)")
    return WorkerLostError("the worker process that ran it is gone")
