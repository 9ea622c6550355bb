"""The recording of ends, laid over whichever result backend an app uses: each goes to the registry in one script."""

from __future__ import annotations

import json
import logging
from typing import Any

from celery import states
from celery.exceptions import (
    NotRegistered,
    Reject,
    SoftTimeLimitExceeded,
    TaskRevokedError,
    TimeLimitExceeded,
    WorkerLostError,
)
from celery.utils.serialization import UnpickleableExceptionWrapper
from kombu.exceptions import EncodeError

from executions import codec
from executions.celery import endings, reuse, telling
from executions.celery.failure import describe
from executions.celery.followers import fail_followers, have_followed, record_body, release_chain
from executions.celery.patience import patiently
from executions.celery.runner import ATTEMPT, Attempt
from executions.celery.site import Site, site_of
from executions.dispatch import HEADER
from executions.errors import NotSerializable, Reset, TimedOut
from executions.registry.transitions import Ending, Found
from executions.states import Reason, Status
from executions.telemetry import log

logger = logging.getLogger(__name__)


class Recording:
    """Writes ends to the registry before the backend it is laid over stores and signals them."""

    app: Any

    @property
    def site(self) -> Site:
        site = site_of(self.app)
        assert site is not None
        return site

    def mark_as_done(
        self,
        task_id: str,
        result: Any,
        request: Any = None,
        store_result: bool = True,
        state: str = states.SUCCESS,
    ) -> None:
        if isinstance(self._record_success(task_id, result, request, store_result), Found):
            return  # a late write of an attempt that was given up: another one owns the execution
        super().mark_as_done(task_id, result, request, store_result, state)  # type: ignore[misc]

    def mark_as_failure(
        self,
        task_id: str,
        exc: BaseException,
        traceback: Any = None,
        request: Any = None,
        store_result: bool = True,
        call_errbacks: bool = True,
        state: str = states.FAILURE,
    ) -> None:
        if not self._record_failure(task_id, exc, request):
            return
        if request is not None:
            fail_followers(self.site, task_id, request, self.encode_error(exc), f"{task_id} failed before it")
        super().mark_as_failure(  # type: ignore[misc]
            task_id, exc, traceback, request, store_result, call_errbacks, state
        )
        have_followed(self.site, request)

    def mark_as_revoked(
        self,
        task_id: str,
        reason: str = "",
        request: Any = None,
        store_result: bool = True,
        state: str = states.REVOKED,
    ) -> None:
        self._record_stop(task_id, reason, request)
        super().mark_as_revoked(task_id, reason, request, store_result, state)  # type: ignore[misc]
        if request is not None:
            why = f"{task_id} was terminated before it"
            release_chain(self.site, self, request, TaskRevokedError(reason), why)
            have_followed(self.site, request)

    def tell_followers(self, execution_id: str) -> bool:
        """Tell who waits for an execution of its end, where nobody has; False where it has to be looked at again."""
        return telling.tell(self.site, self, execution_id)

    def chord_error_from_stack(self, callback: Any, exc: Any = None) -> Any:
        """A chord's member failed: its body never runs, and has a record that says so."""
        record_body(self.site, callback)
        return super().chord_error_from_stack(callback, exc)  # type: ignore[misc]

    @staticmethod
    def encode_error(exc: BaseException) -> str:
        """Write an error as the record keeps it."""
        return describe(exc)[0]

    def _record_success(self, task_id: str, result: Any, request: Any, store_result: bool) -> Any:
        attempt: Attempt | None = getattr(request, ATTEMPT, None)
        if attempt is None:
            return None
        try:
            # Eager runs are stored nowhere by Celery; a call may ignore what its function would keep.
            wanted = (store_result or request.is_eager) and not attempt.ignores_result
            # What a member of a chord gives is for the chord's body, whoever sends that.
            wanted = (wanted or bool(request.chord)) and attempt.source is None
            output = codec.encode(self.prepare_value(result), "output") if wanted else "null"  # type: ignore[attr-defined]
        except NotSerializable as error:
            raise EncodeError(str(error)) from None
        if result is None and wanted:
            output = attempt.reporter.early_output or output
        children = self.current_task_children(request)  # type: ignore[attr-defined]
        fields = attempt.close()
        if children:
            fields += ("ch", codec.encode(children))
        written = codec.encode(children or [])
        if attempt.source is not None:
            ending = endings.reused(attempt.source, written, fields)
        else:
            ending = endings.success(self.site, output, written, fields)
        outcome = self._end(task_id, attempt.started.attempt, ending)
        reuse.keep(attempt, outcome)
        return outcome

    def _record_failure(self, task_id: str, exc: BaseException, request: Any) -> bool:
        """Record an error; False where the execution has ended already, so that nothing is signalled twice."""
        attempt: Attempt | None = getattr(request, ATTEMPT, None)
        if isinstance(exc, UnpickleableExceptionWrapper) and attempt is not None and attempt.error is not None:
            exc, attempt.error = attempt.error, None
        # Nobody's request: the body of a chord, failed by its members.
        reason = reason_of(exc) if request is not None else Reason.UPSTREAM
        kind = "system" if reason is Reason.WORKER_LOST else "user"
        ending = endings.failure(exc, reason, attempt.close() if attempt else [], kind=kind)
        outcome = self._end(task_id, attempt_of(request), ending)
        return not isinstance(outcome, Found)

    def _record_stop(self, task_id: str, reason: str, request: Any) -> None:
        attempt: Attempt | None = getattr(request, ATTEMPT, None)
        ending = endings.stopped(attempt.close() if attempt else [])
        if reason == "expired":
            self.site.transitions.settle(task_id, expired_ending())
            return
        self._end(task_id, attempt_of(request), ending)

    def _end(self, task_id: str, attempt: int | None, ending: Ending) -> Any:
        """Write an end: of the running attempt, else of an execution that waits."""
        outcome = patiently(lambda: self._write_end(task_id, attempt, ending), "writing an end")
        if isinstance(outcome, Found) and not outcome.status.is_terminal:
            log(logger, "execution.late_write", id=task_id, attempt=attempt, status=outcome.status)
        return outcome

    def _write_end(self, task_id: str, attempt: int | None, ending: Ending) -> Any:
        transitions = self.site.transitions
        outcome: Any = transitions.finish(task_id, attempt or 1, ending)
        if isinstance(outcome, Found) and outcome.status is Status.RUNNING and attempt is None:
            outcome = transitions.finish(task_id, outcome.attempt, ending)
        if _may_settle(outcome, attempt, ending):
            outcome = transitions.settle(task_id, ending)
        return outcome


def _may_settle(outcome: Any, attempt: int | None, ending: Ending) -> bool:
    """Whether an end is that of an execution that still waits: refused, revoked or failed before its start."""
    if not isinstance(outcome, Found) or outcome.status is not Status.PENDING:
        return False
    if ending.status in (Status.SUCCESS, Status.CACHED):
        return False
    # Waiting: what it was replaced by could not be sent, so nothing will ever come.
    return attempt is None or attempt == outcome.attempt + 1 or outcome.reason is Reason.WAITING


def expired_ending() -> Ending:
    """The end of an execution that no worker took in time."""
    result = json.dumps({"exc_type": "TaskRevokedError", "exc_message": ["expired"], "exc_module": "celery.exceptions"})
    return Ending(
        status=Status.TERMINATED,
        reason=Reason.EXPIRED,
        message="expired before a worker took it",
        result=result,
        fields=("er", result),
    )


def reason_of(error: BaseException) -> Reason:
    """Tell which reason an exception stands for."""
    if isinstance(error, TimedOut | SoftTimeLimitExceeded | TimeLimitExceeded):
        return Reason.TIMEOUT
    if isinstance(error, Reset):
        return Reason.RESET
    if isinstance(error, WorkerLostError):
        return Reason.WORKER_LOST
    return Reason.REJECTED if isinstance(error, NotRegistered | Reject) else Reason.ERROR


def attempt_of(request: Any) -> int | None:
    """Give the number of the attempt that a request is for, where its message says so."""
    attempt: Attempt | None = getattr(request, ATTEMPT, None)
    if attempt is not None:
        return attempt.started.attempt
    mark = getattr(request, HEADER, None) or (getattr(request, "headers", None) or {}).get(HEADER) or {}
    return mark.get("attempt")


def recorded(kind: type) -> type:
    """Lay the recording over a backend that an app has configured for its results."""
    return type(f"Recorded{kind.__name__}", (Recording, kind), {})
