"""What becomes of an attempt whose child process is gone: killed on request, for its time, or by something else."""

from __future__ import annotations

import logging
import signal
import threading
from functools import partial
from typing import Any

from celery.exceptions import WorkerLostError

from executions import context, parking
from executions.celery import endings
from executions.celery.policies import policy_of
from executions.celery.site import Site
from executions.dispatch import HEADER
from executions.errors import ExecutionsError, Reset, TimedOut
from executions.policy import DEFAULT_CRASH_CAP, Retry, after_reset, poisoned
from executions.registry.transitions import Opened, Poison, StopFirst
from executions.slots import Stop
from executions.states import Reason
from executions.telemetry import log

logger = logging.getLogger(__name__)

_one_at_a_time = threading.Lock()


def settle_loss(site: Site, request: Any) -> None:
    """Record the end of a request's attempt, and send it out again where the policy says so.

    May be called twice, even at once, from the thread that saw the child end and from Celery's own notice: the
    second finds it settled.
    """
    with _one_at_a_time:
        if request.settled or request._already_revoked or request._already_cancelled:
            return
        attempt = attempt_number(request)
        try:
            request.settled = _settle(site, request, attempt)
        except ExecutionsError:
            log(logger, "execution.unrecorded", id=request.id, attempt=attempt, exc_info=True)
        finally:
            _leave_service(site, request, attempt)


def _settle(site: Site, request: Any, attempt: int) -> str:
    backend, options = request.task.backend, {"request": request._context, "store_result": request.store_errors}
    if request.killed is Stop.LOST:
        return "lost"  # the attempt is the rescuer's, or another's, by now
    if request.killed is Stop.TERMINATE:
        backend.mark_as_revoked(request.id, "terminated", **options)
        return "terminated"
    if request.killed is Stop.NONE and _has_not_started(site, request, attempt):
        site.dispatcher.republish(site.space, request.id)
        return "rerun"
    error = loss_of(site, request)
    if _runs_again(site, request, attempt):
        # What was ended on purpose says nothing against the function.
        lost = request.killed is Stop.NONE
        open_next: Any = site.transitions.lose if lost else partial(site.transitions.retry, reason=Reason.RERUN)
        outcome = open_next(request.id, attempt, message=str(error), ended=endings.error_fields(error, kind="system"))
        if isinstance(outcome, StopFirst):
            backend.mark_as_revoked(request.id, "terminated", **options)
            return "terminated"
        if isinstance(outcome, Opened):
            site.dispatcher.republish(site.space, request.id)
            log(logger, "execution.rescued", id=request.id, attempt=attempt, why=error)
            return "rerun"
        if isinstance(outcome, Poison):
            request.losses = outcome.losses
            error = loss_of(site, request)
    if request.killed is Stop.NONE and getattr(request.task, "retry_on_worker_lost", False):
        return ""  # Celery sends it again itself
    backend.mark_as_failure(request.id, error, **options)
    return "failed"


def _has_not_started(site: Site, request: Any, attempt: int) -> bool:
    """Whether it was handed to a child that was gone already: then no attempt is lost, and it waits as before."""
    outcome = site.transitions.park(request.id, reason=Reason.QUEUED, publish=True, attempt=attempt)
    return isinstance(outcome, Opened)


def _runs_again(site: Site, request: Any, attempt: int) -> bool:
    policy = policy_of(site, request.id)
    if policy is not None and isinstance(after_reset(policy, attempt), Retry):
        return True
    # Celery's own word for it; without a bound there, but what kills each child would go on for ever.
    wanted = request.killed is Stop.NONE and request.task.acks_late and request.task.reject_on_worker_lost
    return bool(wanted and attempt < ((policy and policy.max_attempts) or DEFAULT_CRASH_CAP))


def attempt_number(request: Any) -> int:
    """Give the attempt that a request's message is for."""
    return int((request.request_dict.get(HEADER) or {}).get("attempt") or 1)


def resend(site: Site, request: Any, why: str) -> None:
    """Close an attempt that Celery cancelled and send the execution out for the next one."""
    try:
        outcome = site.transitions.retry(request.id, attempt_number(request), message=why)
        if isinstance(outcome, Opened):
            site.dispatcher.republish(site.space, request.id)
    except ExecutionsError:
        log(logger, "execution.unrecorded", id=request.id, attempt=attempt_number(request), exc_info=True)


def _leave_service(site: Site, request: Any, attempt: int) -> None:
    """Give back the slot that the child held, if it held one and has not given it back itself."""
    service = getattr(request.task, "service", None)
    if service:
        parking.release(site, service, f"{request.id}/{attempt}")


def loss_of(site: Site, request: Any) -> Exception:
    """Give the error that stands for the loss."""
    if request.limit_s is not None:
        return TimedOut(f"{context.TIMEOUT_MESSAGE}: time_limit of {request.limit_s:g} s (killed)")
    if request.killed is Stop.TIMEOUT:
        policy = policy_of(site, request.id)
        limit = policy.execution_timeout if policy else None
        return TimedOut(f"{context.TIMEOUT_MESSAGE}: execution_timeout of {limit} s (killed)")
    if request.killed is Stop.DRAIN:
        return Reset(f"{context.DRAIN_MESSAGE} (killed)")
    if request.killed is Stop.RESET:
        return Reset(f"{context.RESET_MESSAGE} (killed)")
    return _worker_lost(request)


def _worker_lost(request: Any) -> WorkerLostError:
    """Say how the child ended, and how many did before it where that is why there is no further attempt."""
    text = how_it_ended(request.exit_code, request.out_of_memory)
    error = WorkerLostError(poisoned(text, request.losses) if request.losses else text)
    error.exit_code = request.exit_code
    return error


def how_it_ended(code: int | None, out_of_memory: bool) -> str:
    """Say how a child ended, as far as it is known."""
    text = "the worker process that ran it is gone"
    if code is not None:
        text += f": exit code {code}" if code >= 0 else f": killed by {_signal_name(-code)}"
    return f"{text}, memory had run out" if out_of_memory and code == -signal.SIGKILL else text


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
