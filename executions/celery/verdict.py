"""What an exception that leaves a function means, and what Celery gets to see of it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from celery.exceptions import Ignore, Reject, Retry, SoftTimeLimitExceeded

from executions import context
from executions.celery import endings
from executions.errors import Conflict, ExecutionFailed, Reset, TimedOut
from executions.policy import Retry as RetryDecision
from executions.policy import after_error, after_reset
from executions.slots import Stop
from executions.states import Reason

if TYPE_CHECKING:
    from executions.celery.runner import Attempt


def ended_by(attempt: Attempt, error: BaseException) -> Any:
    """Decide what an exception means, have it recorded, and raise what Celery needs to see."""
    running = attempt.running
    attempt.error = error
    if running.extra.get("handed_on"):
        # The next attempt is on its way: this one is closed already.
        raise error
    if running.stopped is Stop.LOST:
        # The attempt is the rescuer's by now: whatever is written here would be refused.
        raise Ignore(context.LOST_MESSAGE) from error
    if _is_pool_timeout(error):
        running.stopped = running.stopped or Stop.TIMEOUT
    if running.stopped is Stop.TERMINATE:
        endings.terminated(attempt)
        raise Ignore(context.TERMINATION_MESSAGE) from error
    if running.stopped in (Stop.TIMEOUT, Stop.RESET, Stop.DRAIN) or isinstance(error, SoftTimeLimitExceeded):
        _rerun_or_raise(attempt, error)
    if isinstance(error, Ignore):
        endings.ignored(attempt)
        raise error
    if isinstance(error, Retry):
        raise error
    if isinstance(error, Reject):
        endings.rejected(attempt, error)
        raise Ignore(str(error)) if error.requeue else error
    if not isinstance(error, Exception):
        _base_exception(error)
    if not isinstance(error, Conflict):
        _retry_by_policy(attempt, error)
    raise error


def _is_pool_timeout(error: BaseException) -> bool:
    """Whether Celery's gevent pool ended the function at its hard limit."""
    gevent = sys.modules.get("gevent")
    return gevent is not None and isinstance(error, gevent.Timeout) and not isinstance(error, Exception)


def _rerun_or_raise(attempt: Attempt, error: BaseException) -> None:
    """A limit was reached, the service was updated, the worker shuts down: try again where the policy says so."""
    if isinstance(after_reset(attempt.policy, attempt.started.attempt), RetryDecision):
        endings.rerun(attempt, error, Reason.RERUN)
        raise Ignore(f"{error}: will run again") from error
    if attempt.running.stopped in (Stop.RESET, Stop.DRAIN):
        expected: Any = Reset
    else:
        expected = TimedOut | SoftTimeLimitExceeded
    if not isinstance(error, expected):
        raise attempt.running.stop_error(attempt.running.stopped or Stop.TIMEOUT) from error
    raise error


def _base_exception(error: BaseException) -> None:
    """Turn `sys.exit()` and the like into a failure of the function, not of the worker."""
    code = error.code if isinstance(error, SystemExit) else None
    if isinstance(code, int) and code < -128:
        raise error  # billiard's way to end a child on a signal
    stand_in = ExecutionFailed(type(error).__name__, str(error))
    raise stand_in.with_traceback(error.__traceback__) from error


def _retry_by_policy(attempt: Attempt, error: BaseException) -> None:
    decision = after_error(attempt.policy, error, attempt.started.attempt)
    if isinstance(decision, RetryDecision) and not attempt.request.is_eager:
        endings.retry_later(attempt, error, decision.delay_s)
