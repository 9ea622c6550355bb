"""The registry as Celery's result backend, and the recording of ends for any other backend.

`Recording` is laid over whichever backend an app uses: it writes each end to the registry in one script.
`RegistryBackend` is that over Celery's Redis backend, with the record itself as the stored result: no
`GET`, no `SETEX`, no key besides the record.
"""

from __future__ import annotations

import itertools
import json
import logging
import re
from typing import Any

from celery import states
from celery.backends.redis import RedisBackend
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
from executions.celery import chords, endings, reuse
from executions.celery.consumer import RecordConsumer
from executions.celery.failure import describe
from executions.celery.followers import fail_followers, record_body, release_chain, upstream_ending
from executions.celery.patience import patiently
from executions.celery.runner import ATTEMPT, Attempt
from executions.celery.site import Site, site_of
from executions.dispatch import HEADER
from executions.errors import NotSerializable, PayloadMissing, Reset, TimedOut
from executions.registry import keys
from executions.registry.connection import SOCKET_TIMEOUT_S, translated
from executions.registry.transitions import Ending, Found, Missing, Submission
from executions.states import Reason, Status
from executions.telemetry import log

logger = logging.getLogger(__name__)

_CELERY_STATE = {
    Status.PENDING: states.PENDING,
    Status.RUNNING: states.STARTED,
    Status.SUCCESS: states.SUCCESS,
    Status.CACHED: states.SUCCESS,
    Status.FAILED: states.FAILURE,
    Status.TERMINATED: states.REVOKED,
}

#: Fields of the record that make up a result.
_RESULT_FIELDS = ("st", "rs", "out", "or", "er", "tb", "ch", "fi", "cs", "pa", "wk", "sd", "pid")


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

    def tell_chord(self, execution_id: str) -> bool:
        """Tell the chord of an execution that has ended, where nobody has; False where it has to be looked at again."""
        return chords.tell(self.site, self, execution_id)

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


class RegistryBackend(Recording, RedisBackend):
    """The result backend of an installed app that has configured none."""

    ResultConsumer = RecordConsumer
    supports_result_compression = False

    def __init__(self, app: Any, url: str | None = None, **options: Any) -> None:
        site = site_of(app)
        assert site is not None
        namespace = site.settings.namespace
        self.group_keyprefix = keys.celery_group(namespace)
        self.chord_keyprefix = keys.celery_chord(namespace)
        super().__init__(app=app, url=_backend_url(site), **options)

    def _create_client(self, **params: Any) -> Any:
        space = self.site.space
        if space.address.kind == "server":
            return super()._create_client(**params)
        # Celery knows neither of a cluster nor of our Sentinels' URL.
        return space.own_client(socket_timeout_s=SOCKET_TIMEOUT_S)

    def on_chord_part_return(self, request: Any, state: Any, result: Any, *args: Any, **options: Any) -> None:
        """Count a member of a chord, and say that it is counted: upkeep would do it otherwise."""
        self.count_member(request, state, result, *args, **options)
        chords.told(self.site, request.id)

    def count_member(self, request: Any, state: Any, result: Any, *args: Any, **options: Any) -> None:
        """Count a member of a chord, however long the registry is away; whoever is the last sends the body."""
        count, tries = translated(super().on_chord_part_return), itertools.count()

        def once() -> None:
            # The try before may have sent it, and a body that has ended meanwhile would run again.
            if not next(tries) or not chords.is_sent(self.site, request.chord):
                count(request, state, result, *args, **options)

        # A reply that got lost may have been the claim on sending the body, which ends before it is asked for anew.
        claimed_s = 1 + max(5.0, 2 * (self.app.conf.result_chord_join_timeout or 5.0))
        patiently(once, "counting for a chord", claimed_s)

    @translated
    def is_sending(self, group_id: str) -> bool:
        """Whether somebody has claimed the sending of a chord's body, and may have died over it."""
        return self.client.get(self.get_key_for_group(group_id, ".c")) not in (None, b"done")

    def forget_chord(self, group_id: str) -> bool:
        """Drop the counts of a chord whose body is on record: whoever ends again must not send it again."""
        if self.is_sending(group_id):
            return False
        self.client.delete(*(self.get_key_for_group(group_id, part) for part in (".j", ".t", ".s", ".d")))
        return True

    def get_key_for_task(self, task_id: Any, key: Any = "") -> bytes:
        space = self.site.space
        return space.keys(str(task_id)).record(str(task_id)).encode()

    def on_task_call(self, producer: Any, task_id: str) -> None:
        """Subscribe to nothing yet: most callers never wait, and `get()` reads the record first."""

    def _store_result(
        self, task_id: str, result: Any, state: str, traceback: Any = None, request: Any = None, **kwargs: Any
    ) -> None:
        """Store what no transition has stored: custom states, and failures of tasks that never ran."""
        if state in (states.STARTED, states.SUCCESS, states.RETRY, states.REVOKED):
            return
        if state == states.FAILURE:
            # What came with a message has an attempt, and its end is recorded by that.
            if attempt_of(request) is None:
                self._fail_unstarted(task_id, result, request)
            return
        text = codec.encode({"status": state, "result": result}, "meta")
        self.site.transitions.annotate(task_id, None, fields=("cs", text))

    def _fail_unstarted(self, task_id: str, encoded: Any, request: Any) -> None:
        written = codec.encode(encoded)
        ending = upstream_ending(written, "a task before it failed")
        transitions = self.site.transitions
        if isinstance(transitions.settle(task_id, ending), Missing):
            name = getattr(request, "task", None) or "unknown"
            root = getattr(request, "root_id", None)
            transitions.submit(Submission(id=task_id, function=name, inputs="[[],{}]", root_id=root, in_outbox=False))
            transitions.settle(task_id, ending)

    @translated
    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        values = self.site.space.client.hmget(self.get_key_for_task(task_id), _RESULT_FIELDS)
        return self.meta_from_decoded(self._meta(task_id, _text(values)))

    @translated
    def mget(self, record_keys: Any) -> list[str | None]:
        """Read many results at once: those of a group. What is not known is not there."""
        pipeline = self.site.space.client.pipeline(transaction=False)
        for key in record_keys:
            pipeline.hmget(key, _RESULT_FIELDS)
        found = [(_id_of(key), _text(values)) for key, values in zip(record_keys, pipeline.execute(), strict=True)]
        return [codec.encode(self._meta(one, raw)) if raw else None for one, raw in found]

    def _meta(self, task_id: str, raw: dict[str, str]) -> dict[str, Any]:
        meta: dict[str, Any] = {
            "task_id": task_id, "status": states.PENDING, "result": None, "traceback": None, "children": [],
        }  # fmt: skip
        if "st" not in raw:
            return meta
        status = Status(raw["st"])
        meta["status"] = states.RETRY if raw.get("rs") == Reason.RETRYING else _CELERY_STATE[status]
        meta["children"] = codec.decode(raw["ch"]) if "ch" in raw else []
        if status.is_terminal:
            meta["date_done"] = raw.get("fi")
        if status in (Status.SUCCESS, Status.CACHED):
            text = self.site.payloads.get(raw["or"]) if "or" in raw else raw.get("out", "null")
            meta["result"] = codec.decode(text)
        elif "er" in raw:
            meta["result"], meta["traceback"] = json.loads(raw["er"]), raw.get("tb")
        elif status is Status.RUNNING:
            custom = codec.decode(raw["cs"]) if "cs" in raw else {}
            meta |= custom or {"result": {"hostname": raw.get("wk"), "pid": int(raw.get("pid") or 0)}}
        return meta

    def meta_of_channel(self, channel: Any) -> dict[str, Any]:
        """Give the result behind a channel's name."""
        return self._get_task_meta_for(_id_of(channel))

    def decode_result(self, payload: Any) -> Any:
        """Read what a transition published; a large result is fetched from the payload store."""
        meta = codec.decode(payload)
        result = meta.get("result")
        if isinstance(result, dict) and result.keys() == {endings.PAYLOAD_MARK}:
            try:
                meta["result"] = codec.decode(self.site.payloads.get(result[endings.PAYLOAD_MARK]))
            except PayloadMissing:
                return self._get_task_meta_for(meta["task_id"])
        return self.meta_from_decoded(meta)

    def _forget(self, task_id: str) -> None:
        """Drop the result; the execution stays on record."""
        self.site.space.client.hdel(self.get_key_for_task(task_id), "out", "or")

    def as_uri(self, include_password: bool = False) -> str:
        return str(super().as_uri(include_password))


def _id_of(key: Any) -> str:
    """Give the id in a record's key."""
    return keys.execution_of(key.decode() if isinstance(key, bytes) else str(key))


def _text(values: Any) -> dict[str, str]:
    return {name: value.decode() for name, value in zip(_RESULT_FIELDS, values, strict=True) if value}


def recorded(kind: type) -> type:
    """Lay the recording over a backend that an app has configured for its results."""
    return type(f"Recorded{kind.__name__}", (Recording, kind), {})


def _backend_url(site: Site) -> str:
    """Write the registry's URL as Celery's backend reads it, which has words of its own for a socket."""
    address = site.space.address
    if address.kind != "server":
        return "redis://"  # Not connected to: the client is made by `_create_client`.
    url = address.url
    if not url.startswith("unix://"):
        return url
    return re.sub(r"([?&])db=", r"\1virtual_host=", url.replace("unix://", "socket://", 1))
