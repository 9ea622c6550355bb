"""The ways an attempt can end, each as what the registry, Celery and those who wait get to know."""

from __future__ import annotations

import json
import logging
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from celery.exceptions import Reject

from executions import context
from executions.celery.failure import describe
from executions.celery.followers import release_followers, told
from executions.celery.patience import patiently
from executions.celery.site import Site
from executions.registry.cache import Source
from executions.registry.transitions import (
    REVOKED_RESULT,
    Ending,
    Expired,
    Found,
    Opened,
    StopFirst,
)
from executions.slots import Stop
from executions.states import Reason, Status
from executions.telemetry import log

if TYPE_CHECKING:
    from executions.celery.runner import Attempt

logger = logging.getLogger(__name__)

#: The one key of what is announced in the place of a large output.
PAYLOAD_MARK = "executions-payload"

#: More than any function retries: whether to try again was decided by the policy, not by Celery's counter.
_NO_LIMIT = 1_000_000_000


def success(site: Site, output: str, children: str, fields: list[Any]) -> Ending:
    """End with an output (JSON); a large one goes to the payload store."""
    if len(output) <= site.settings.payload_threshold:
        stored, result = ["out", output], output
    else:
        reference = site.payloads.put(output)
        stored, result = ["or", reference], json.dumps({PAYLOAD_MARK: reference})
    return Ending(status=Status.SUCCESS, result=result, children=children, fields=(*stored, *fields))


def reused(source: Source, children: str, fields: list[Any]) -> Ending:
    """End with the output of another execution, as it is stored already."""
    code, result = ("or", json.dumps({PAYLOAD_MARK: source.text})) if source.is_reference else ("out", source.text)
    return Ending(
        status=Status.CACHED,
        message=f"the output of {source.id}",
        result=result,
        children=children,
        fields=(code, source.text, "src", source.id, *fields),
    )


def failure(error: BaseException, reason: Reason, fields: list[Any], *, kind: str = "user") -> Ending:
    """End with an error."""
    written, traceback = describe(error, kind=kind)
    shown = json.loads(written)
    message = f"{shown['exc_type']}: {shown['message']}" if reason is Reason.ERROR else shown["message"]
    parts: list[Any] = ["er", written, *fields]
    if traceback is not None:
        parts += ("tb", traceback)
    return Ending(
        status=Status.FAILED,
        reason=reason,
        message=message[:1000],
        result=written,
        traceback=json.dumps(traceback),
        fields=tuple(parts),
    )


def stopped(fields: list[Any], message: str = "") -> Ending:
    """End because somebody asked; who and why is on the record already."""
    return Ending(
        status=Status.TERMINATED,
        reason=Reason.REQUESTED,
        message=message,
        result=REVOKED_RESULT,
        fields=("er", REVOKED_RESULT, *fields),
    )


def terminated(attempt: Attempt) -> None:
    """The function has stopped because it was asked to."""
    request, task = attempt.request, attempt.task
    task.backend.mark_as_revoked(request.id, "terminated", request=request, store_result=not request.ignore_result)
    _send_event(task, "task-revoked", request.id, terminated=True, signum=None, expired=False)


def ignored(attempt: Attempt) -> None:
    """The function raised `Ignore`: it ended as it wanted, without an output."""
    ending = Ending(status=Status.SUCCESS, message="ended by Ignore", fields=tuple(attempt.close()))
    site, request = attempt.site, attempt.request
    patiently(lambda: site.transitions.finish(request.id, attempt.started.attempt, ending), "writing an end")
    if request.chord:
        told(site, request.id)  # Celery counts none that ended so, and neither does upkeep.


def hand_on(attempt: Attempt, replaced_by: str) -> None:
    """Close this attempt; the execution goes on when the last of those that replace it is sent."""
    if attempt.request.is_eager:
        return
    put_aside = partial(
        attempt.site.transitions.retry, attempt.request.id, attempt.started.attempt, reason=Reason.WAITING,
        message=f"replaced by {replaced_by}", ended=error_in_hand(attempt),
    )  # fmt: skip
    outcome = patiently(put_aside, "waiting for what replaces it")
    if isinstance(outcome, StopFirst):
        attempt.running.raise_stop(Stop.TERMINATE)
    attempt.running.extra["handed_on"] = True


def rejected(attempt: Attempt, error: Reject) -> None:
    """The function raised `Reject`: with requeue, it runs again; else it has failed."""
    if error.requeue:
        rerun(attempt, error, Reason.RETRYING)
        return
    # Newer releases of Celery record this too, in the worker's parent; older ones leave it running for ever.
    request, task = attempt.request, attempt.task
    task.backend.mark_as_failure(request.id, error, request=request, store_result=not request.ignore_result)


def rerun(attempt: Attempt, error: BaseException, reason: Reason) -> None:
    """Close this attempt and send the execution out for the next one."""
    described = error_fields(error)
    site, request = attempt.site, attempt.request
    retry = partial(
        site.transitions.retry,
        request.id,
        attempt.started.attempt,
        reason=reason,
        message=json.loads(described[1])["message"][:1000],
        ended=[*attempt.close(), *described],
    )
    outcome = patiently(retry, "opening the next attempt")
    if isinstance(outcome, StopFirst):
        terminated(attempt)
    elif isinstance(outcome, Opened):
        site.dispatcher.republish(site.space, request.id)


def retry_later(attempt: Attempt, error: BaseException, delay_s: float) -> None:
    """Send the execution out again the way Celery does, so that its events and hooks see a retry."""
    token = context.enter(attempt.running)
    try:
        attempt.task.retry(exc=error, countdown=delay_s, max_retries=_NO_LIMIT)
    finally:
        context.leave(token)


def error_in_hand(attempt: Attempt) -> list[Any]:
    """Give what is known of the attempt's end while its function sends itself again from an `except` block."""
    error = sys.exc_info()[1]
    attempt.writer.flush()
    return [*attempt.close(), *(error_fields(error) if error is not None else ())]


def error_fields(error: BaseException, kind: str = "user") -> list[Any]:
    """Give an error as fields of the record."""
    written, traceback = describe(error, kind=kind)
    return ["er", written, *(("tb", traceback) if traceback is not None else ())]


def stop_cause(site: Site, execution_id: str) -> str:
    """Give who asked for a stop and why, for the exception's message."""
    raw = site.space.client.hget(site.space.keys(execution_id).record(execution_id), "tt")
    if raw is None:
        return ""
    request = json.loads(raw)
    who, cause = request.get("principal") or "somebody", request.get("cause")
    return f"{cause} (asked by {who})" if cause else f"asked by {who}"


def announce_refused(task: Any, outcome: Any) -> None:
    """Tell Flower and the log why a message was dropped."""
    request = task.request
    cancelled = isinstance(outcome, Expired) or (isinstance(outcome, Found) and outcome.status is Status.TERMINATED)
    log(logger, "execution.refused", id=request.id, function=task.name, outcome=type(outcome).__name__)
    if cancelled:
        release_followers(task.backend, request)
        expired = isinstance(outcome, Expired)
        _send_event(task, "task-revoked", request.id, terminated=False, signum=None, expired=expired)


def _send_event(task: Any, kind: str, execution_id: str, **fields: Any) -> None:
    if not task.app.conf.worker_send_task_events and not task.request.hostname:
        return
    try:
        with task.app.events.default_dispatcher() as dispatcher:
            dispatcher.send(kind, uuid=execution_id, **fields)
    except Exception:  # Flower's picture is a courtesy; the record is the truth
        logger.debug("event %s of %s was not sent", kind, execution_id, exc_info=True)
