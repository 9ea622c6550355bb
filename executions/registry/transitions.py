"""Every change of an execution's state: one verb, one script, one round trip.

A verb says what it expects (a status, an attempt); where the record says otherwise nothing is written, and
the reply tells what was found. So each verb may be called twice.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from executions import ids
from executions.errors import NotFound
from executions.registry import scripts
from executions.registry.connection import translated
from executions.registry.space import Space
from executions.states import Reason, Status

#: Seconds that keys outlive the retention, so that the pruner finds the record whose index entries it removes.
RETENTION_SLACK_S = 24 * 3600

#: Points of step metrics that are kept of one execution, the newest.
METRICS_CAP = 10_000


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What is known of an execution when it is accepted."""

    id: str
    function: str
    inputs: str
    reason: Reason = Reason.QUEUED
    message: str = ""
    payload: str | None = None
    headers: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    name: str | None = None
    service: str | None = None
    pipeline: str | None = None
    stage: str | None = None
    queue: str | None = None
    principal: str | None = None
    parent_id: str | None = None
    root_id: str | None = None
    reference: str | None = None
    #: Celery's own count of retries, which its `retry()` goes by.
    retries: int = 0
    eta_us: int | None = None
    expires_us: int | None = None
    tags: tuple[str, ...] = ()
    properties: dict[str, str] = field(default_factory=dict)
    #: Whether the message may have to be published again; not so for eager runs, which have none.
    in_outbox: bool = True


@dataclass(frozen=True)
class Accepted:
    """The execution is new."""

    number: int


@dataclass(frozen=True)
class Found:
    """There is such an execution already, or it is not in the state that was expected."""

    status: Status
    reason: Reason
    attempt: int


@dataclass(frozen=True)
class Missing:
    """There is no such execution."""


@dataclass(frozen=True)
class Expired:
    """The execution waited too long and has been closed."""


@dataclass(frozen=True)
class Started:
    """The attempt is ours."""

    attempt: int
    options: dict[str, Any]
    created_us: int
    state: str
    payload: str
    started_us: int


@dataclass(frozen=True)
class Ended:
    """The execution has ended, now."""

    at_us: int


@dataclass(frozen=True)
class Opened:
    """The execution waits for its next attempt."""

    attempt: int


@dataclass(frozen=True)
class StopFirst:
    """Somebody asked for the execution to stop: it must not be tried again."""


@dataclass(frozen=True)
class Cancelled:
    """The execution was waiting and is terminated."""

    #: Whether its message carries what others wait for: a chain's next step, a chord's body.
    has_followers: bool = False


@dataclass(frozen=True)
class Asked:
    """The execution is running; its worker has to stop it."""

    worker: str
    attempt: int


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How an attempt ended: the fields to write and what to tell those who wait."""

    status: Status
    reason: Reason = Reason.NONE
    message: str = ""
    principal: str = ""
    #: The result as Celery's clients read it: the output, or the error, as JSON.
    result: str = "null"
    traceback: str = "null"
    children: str = "[]"
    fields: tuple[Any, ...] = ()


#: What those who wait for a terminated execution get to see, as Celery writes it.
REVOKED_RESULT = json.dumps(
    {"exc_type": "TaskRevokedError", "exc_message": ["terminated"], "exc_module": "celery.exceptions"}
)


class Transitions:
    """The verbs."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._life_s = space.settings.retention_s + RETENTION_SLACK_S

    @translated
    def submit(self, submission: Submission) -> Accepted | Found:
        """Accept an execution; where the id is known already, say how it stands and change nothing."""
        keys, args = self.submit_call(submission)
        return self.submit_reply(scripts.SUBMIT(self._space.client, keys, args))

    @translated
    def submit_many(self, submissions: Sequence[Submission]) -> list[Accepted | Found]:
        """Accept many executions in one round trip."""
        client = self._space.client
        scripts.SUBMIT.ensure(client)
        pipeline = client.pipeline(transaction=False)
        for submission in submissions:
            scripts.SUBMIT.queue(pipeline, *self.submit_call(submission))
        return [self.submit_reply(reply) for reply in pipeline.execute()]

    def submit_call(self, submission: Submission) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        """Give the keys and arguments of the script, for a pipeline."""
        fields = _submit_fields(submission)
        terms = _submit_terms(submission)
        keys = self._space.keys(submission.id).of_transition(submission.id, 1)
        return keys, (
            submission.id,
            ids.pack(submission.id),
            submission.reason.value,
            submission.message,
            len(fields),
            *fields,
            len(terms),
            *terms,
            "1" if submission.in_outbox else "",
        )

    @staticmethod
    def submit_reply(reply: list[Any]) -> Accepted | Found:
        """Read what the script answered."""
        return Accepted(int(reply[1])) if reply[0] == b"new" else _found(reply)

    @translated
    def start(
        self,
        execution_id: str,
        attempt: int | None,
        *,
        worker: str,
        pid: int,
        pool: str,
        service_version: int | None = None,
        reset: str = "",
    ) -> Started | Found | Missing | Expired:
        """Take the next attempt; exactly one caller gets it."""
        reply = scripts.START(
            self._space.client,
            self._space.keys(execution_id).of_transition(execution_id, attempt or 1),
            (
                execution_id,
                "" if attempt is None else attempt,
                worker,
                pid,
                pool,
                "" if service_version is None else service_version,
                self._life_s,
                reset,
            ),
        )
        word = reply[0]
        if word == b"ok":
            _, number, options, created, state, payload, started = reply
            return Started(
                number,
                json.loads(options) if options else {},
                int(created),
                state.decode(),
                payload.decode(),
                int(started),
            )
        if word == b"missing":
            return Missing()
        return Expired() if word == b"expired" else _found(reply)

    @translated
    def finish(self, execution_id: str, attempt: int, ending: Ending) -> Ended | Found | Missing:
        """End the running attempt for good: `succeed`, `fail` or `stop`, as the ending says."""
        keys, args = self.finish_call(execution_id, attempt, ending)
        return _ended(scripts.FINISH(self._space.client, keys, args))

    def finish_call(self, execution_id: str, attempt: int, ending: Ending) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        """Give the keys and arguments of the script, for a pipeline."""
        keys = self._space.keys(execution_id).of_transition(execution_id, attempt)
        return keys, (
            execution_id,
            attempt,
            ending.status.value,
            ending.reason.value,
            ending.principal,
            ending.message,
            self._life_s,
            ending.result,
            ending.traceback,
            ending.children,
            len(ending.fields),
            *ending.fields,
        )

    @translated
    def settle(self, execution_id: str, ending: Ending) -> Ended | Found | Missing:
        """End an execution that waits and never started."""
        reply = scripts.SETTLE(
            self._space.client,
            self._space.keys(execution_id).of_transition(execution_id, 1),
            (
                execution_id,
                ending.status.value,
                ending.reason.value,
                ending.principal,
                ending.message,
                self._life_s,
                ending.result,
                len(ending.fields),
                *ending.fields,
            ),
        )
        return _ended(reply)

    @translated
    def terminate(
        self,
        execution_id: str,
        *,
        principal: str,
        cause: str,
        mode: str,
        grace_s: float | None,
        at_us: int,
        reason: Reason = Reason.CANCELLED,
    ) -> Cancelled | Asked | Found | Missing:
        """Stop an execution: at once where it waits, through its worker where it runs."""
        request = {"principal": principal, "cause": cause, "mode": mode, "grace_s": grace_s, "at": at_us}
        reply = scripts.TERMINATE(
            self._space.client,
            self._space.keys(execution_id).of_transition(execution_id, 1),
            (execution_id, principal, cause, json.dumps(request), self._life_s, REVOKED_RESULT, reason.value),
        )
        if reply[0] == b"terminated":
            return Cancelled(bool(reply[1]))
        if reply[0] == b"asked":
            return Asked(reply[1].decode(), int(reply[2]))
        return Missing() if reply[0] == b"missing" else _found(reply)

    @translated
    def retry(
        self,
        execution_id: str,
        attempt: int,
        *,
        reason: Reason = Reason.RETRYING,
        message: str = "",
        principal: str = "",
        ended: Sequence[Any] = (),
        coming: Sequence[Any] = (),
        function: str = "",
    ) -> Opened | StopFirst | Found | Missing:
        """End the running attempt and open the execution for the next one."""
        reply = scripts.RETRY(
            self._space.client,
            self._space.keys(execution_id).of_transition(execution_id, attempt),
            (
                execution_id, attempt, reason.value, principal, message,
                len(ended), *ended, len(coming), *coming, function,
            ),
        )  # fmt: skip
        return StopFirst() if reply[0] == b"stop" else _opened(reply)

    @translated
    def rerun(
        self,
        execution_id: str,
        *,
        principal: str,
        message: str = "",
        coming: Sequence[Any] = (),
        function: str = "",
    ) -> Opened | Found | Missing:
        """Open an ended execution for one more attempt; `coming` is what differs in its message."""
        reply = scripts.RERUN(
            self._space.client,
            self._space.keys(execution_id).of_transition(execution_id, 1),
            (execution_id, principal, message, len(coming), *coming, function),
        )
        return _opened(reply)

    @translated
    def park(
        self,
        execution_id: str,
        *,
        reason: Reason = Reason.WAITING,
        message: str = "",
        publish: bool = False,
        attempt: int | None = None,
    ) -> Opened | Found | Missing:
        """Say why a waiting execution waits; with `publish`, put it back into the outbox.

        With `attempt`, only where that attempt is the one that is waited for.
        """
        reply = scripts.PARK(
            self._space.client,
            self._space.keys(execution_id).of_transition(execution_id, 1),
            (execution_id, reason.value, message, "1" if publish else "", "" if attempt is None else attempt),
        )
        return _opened(reply)

    @translated
    def supply(
        self, execution_id: str, *, coming: Sequence[Any], function: str, message: str = ""
    ) -> Opened | Found | Missing:
        """Give a waiting execution the message that it waited for."""
        reply = scripts.SUPPLY(
            self._space.client,
            self._space.keys(execution_id).of_transition(execution_id, 1),
            (execution_id, message, len(coming), *coming, function),
        )
        return _opened(reply)

    @translated
    def service_of(self, execution_id: str) -> str | None:
        """Tell the service of an execution, where it has one."""
        found = self._space.client.hget(self._space.keys(execution_id).record(execution_id), "sv")
        return found.decode() if found else None

    @translated
    def annotate(
        self,
        execution_id: str,
        attempt: int | None,
        *,
        fields: Sequence[Any] = (),
        tags: Sequence[str] = (),
        terms: Sequence[str] = (),
    ) -> Found | Missing | None:
        """Write progress, properties or tags; with an attempt, only while that attempt runs."""
        reply = scripts.ANNOTATE(
            self._space.client,
            self._space.keys(execution_id).of_transition(execution_id, attempt or 1),
            (
                execution_id, "" if attempt is None else attempt,
                len(fields), *fields, len(tags), *tags, len(terms), *terms,
            ),
        )  # fmt: skip
        if reply[0] == b"ok":
            return None
        return Missing() if reply[0] == b"missing" else _found(reply)

    @translated
    def report(
        self,
        execution_id: str,
        attempt: int,
        *,
        fields: Sequence[Any] = (),
        tags: Sequence[str] = (),
        points: Sequence[tuple[str, float, int | None]] = (),
    ) -> None:
        """Write what a running function gathered, its step metrics too, in one round trip."""
        if fields or tags:
            self.annotate(execution_id, attempt, fields=fields, tags=tags)
        if points:
            key = self._space.keys(execution_id).metrics(execution_id)
            pipeline = self._space.client.pipeline(transaction=False)
            for name, value, step in points:
                entry: dict[Any, Any] = {"k": name, "v": repr(value), "s": "" if step is None else step, "a": attempt}
                pipeline.xadd(key, entry, maxlen=METRICS_CAP, approximate=True)
            pipeline.expire(key, self._life_s)
            pipeline.execute()

    @translated
    def prune(self, execution_id: str, number: int, attempt: int = 1) -> bool:
        """Forget an ended execution; `number` is the one within its shard."""
        reply = scripts.PRUNE(
            self._space.client,
            self._space.keys(execution_id).of_transition(execution_id, attempt),
            (execution_id, number),
        )
        return bool(reply[0] == b"ok")


def next_message(s: Submission) -> list[Any]:
    """Give what changes on the record when another message is sent for an execution that is known."""
    fields: list[Any] = ["in", s.inputs, "pay", s.payload or "", "hd", s.headers or "", "re", s.retries]
    for code, value in (("eta", s.eta_us), ("ex", s.expires_us)):
        if value is not None:
            fields += (code, value)
    return fields


def found_or_raise(outcome: Any, execution_id: str) -> Any:
    """Give the outcome, or raise `NotFound` where there is no such execution."""
    if isinstance(outcome, Missing):
        raise NotFound(f"no execution {execution_id!r}: the id is unknown or it was removed after its retention")
    return outcome


def _submit_fields(s: Submission) -> list[Any]:
    fields: list[Any] = ["fn", s.function, "in", s.inputs]
    for code, value in (
        ("pay", s.payload), ("hd", s.headers), ("nm", s.name), ("sv", s.service), ("pl", s.pipeline),
        ("sg", s.stage), ("qu", s.queue), ("pr", s.principal), ("pa", s.parent_id), ("ref", s.reference),
        ("eta", s.eta_us), ("ex", s.expires_us),
    ):  # fmt: skip
        if value is not None:
            fields += (code, value)
    if s.root_id and s.root_id != s.id:
        fields += ("ro", s.root_id)
    if s.options:
        fields += ("op", json.dumps(s.options, separators=(",", ":")))
    if s.tags:
        fields += ("tg", json.dumps(s.tags))
    for key, text in s.properties.items():
        fields += (f"p.{key}", text)
    return fields


def _submit_terms(s: Submission) -> list[str]:
    terms: list[str] = ["function", s.function]
    for field_name, value in (
        ("service", s.service), ("queue", s.queue), ("pipeline", s.pipeline), ("stage", s.stage),
        ("parent", s.parent_id), ("name", s.name),
    ):  # fmt: skip
        if value:
            terms += (field_name, value)
    if s.root_id and s.root_id != s.id:
        terms += ("root", s.root_id)
    for tag in s.tags:
        terms += ("tag", tag)
    return terms


def _found(reply: list[Any]) -> Found:
    return Found(Status(reply[1].decode()), Reason(reply[2].decode()), int(reply[3]))


def _ended(reply: list[Any]) -> Ended | Found | Missing:
    if reply[0] == b"ok":
        return Ended(int(reply[1]))
    return Missing() if reply[0] == b"missing" else _found(reply)


def _opened(reply: list[Any]) -> Opened | Found | Missing:
    if reply[0] == b"ok":
        return Opened(int(reply[1]))
    return Missing() if reply[0] == b"missing" else _found(reply)
