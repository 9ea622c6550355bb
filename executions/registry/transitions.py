"""Every change of an execution's state: one verb, one script, one round trip.

A verb says what it expects (a status, an attempt); where the record says otherwise nothing is written, and
the reply tells what was found. So each verb may be called twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any

from executions import ids
from executions.git import Checkout
from executions.policy import DEFAULT_CRASH_CAP, NO_POLICY, Policy, write_reset
from executions.registry import scripts
from executions.registry.connection import translated
from executions.registry.ending import REVOKED_RESULT, Ending, expired
from executions.registry.outcomes import (
    OWED_AGAIN_S,
    Accepted,
    Again,
    Asked,
    Cancelled,
    Ended,
    Expired,
    Found,
    Missing,
    Opened,
    Owed,
    Poison,
    Started,
    StopFirst,
    Untold,
    found_or_raise,
    read_annotated,
    read_ended,
    read_found,
    read_opened,
    read_owed,
    read_reopened,
    read_started,
    read_stopped,
)
from executions.registry.space import Space
from executions.registry.submission import Submission, fields_of, next_message, terms_of
from executions.states import Reason, Status

#: The verbs, and what goes in and comes out: whoever changes a state imports from here.
__all__ = [
    "REVOKED_RESULT",
    "Accepted",
    "Again",
    "Asked",
    "Cancelled",
    "Ended",
    "Ending",
    "Expired",
    "Found",
    "Missing",
    "Opened",
    "Owed",
    "Poison",
    "Started",
    "StopFirst",
    "Submission",
    "Transitions",
    "expired",
    "found_or_raise",
    "next_message",
]

#: Seconds that keys outlive the retention, so that the pruner finds the record whose index entries it removes.
RETENTION_SLACK_S = 24 * 3600

#: Points of step metrics that are kept of one execution, the newest.
METRICS_CAP = 10_000


class Transitions:
    """The verbs."""

    def __init__(self, space: Space, own: Callable[[], Checkout | None] = lambda: None) -> None:
        self._space = space
        #: Tells which code this process runs.
        self._own = own
        self._life_s = space.settings.retention_s + RETENTION_SLACK_S

    @translated
    def submit(self, submission: Submission, push: tuple[str, str] | None = None) -> Accepted | Found:
        """Accept an execution; where the id is known already, say how it stands and change nothing.

        With `push`, a list and a text, its message is sent in the same step: where the registry is the broker too.
        """
        return self.submit_raw(self.submit_call(submission, push))

    @translated
    def submit_many(
        self, submissions: Sequence[Submission], pushes: Sequence[tuple[str, str]] = ()
    ) -> list[Accepted | Found]:
        """Accept many executions in one round trip."""
        calls = [self.submit_call(one, push) for one, push in zip_longest(submissions, pushes)]
        return [self.submit_reply(reply) for reply in scripts.SUBMIT.many(self._space.client, calls)]

    @translated
    def submit_raw(self, call: scripts.Call) -> Accepted | Found:
        """Accept an execution whose keys and arguments are made already."""
        return self.submit_reply(scripts.SUBMIT(self._space.client, *call))

    def submit_call(self, submission: Submission, push: tuple[str, str] | None = None) -> scripts.Call:
        """Give the keys and arguments of the script, for a pipeline."""
        to, message = ((push[0],), (push[1],)) if push else ((), ())
        fields = fields_of(submission)
        terms = terms_of(submission)
        keys = self._space.keys(submission.id).of_transition(submission.id, 1)
        return keys + to, (
            submission.id,
            ids.pack(submission.id),
            submission.reason.value,
            submission.message,
            len(fields),
            *fields,
            len(terms),
            *terms,
            "1" if submission.in_outbox else "",
            *message,
        )

    @staticmethod
    def submit_reply(reply: list[Any]) -> Accepted | Found:
        """Read what the script answered."""
        return Accepted(*(int(part) for part in reply[1:])) if reply[0] == b"new" else read_found(reply)

    @translated
    def start(
        self,
        execution_id: str,
        attempt: int | None,
        *,
        worker: str,
        pid: int,
        pool: str,
        service: tuple[str, int | None] | None = None,
        policy: Policy = NO_POLICY,
        claim: str = "",
    ) -> Started | Found | Missing | Expired:
        """Take the next attempt; exactly one caller gets it.

        `service` is the name and version of what governs it, `("", None)` for none; the record is put right.
        A `claim` names the worker's term and the call: one who lost the reply may ask again and gets the same.
        """
        code = self._own()
        reply = scripts.START(
            self._space.client,
            self._space.keys(execution_id).of_transition(execution_id, attempt or 1),
            (
                execution_id,
                "" if attempt is None else attempt,
                worker,
                pid,
                pool,
                "" if service is None or service[1] is None else service[1],
                self._life_s,
                write_reset(policy),
                claim,
                "" if service is None else f"={service[0]}",
                policy.execution_timeout or "",
                f"{code.id}/{code.commit}" if code else "",
            ),
        )
        return read_started(reply)

    @translated
    def finish(self, execution_id: str, attempt: int, ending: Ending) -> Ended | Found | Missing:
        """End the running attempt for good: `succeed`, `fail` or `stop`, as the ending says."""
        keys, args = self.finish_call(execution_id, attempt, ending)
        return read_ended(scripts.FINISH(self._space.client, keys, args))

    def finish_call(self, execution_id: str, attempt: int, ending: Ending) -> scripts.Call:
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
        return read_ended(reply)

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
        bulk: str = "",
    ) -> Cancelled | Asked | Found | Missing | Again:
        """Stop an execution: at once where it waits, through its worker where it runs; for a `bulk` once only."""
        request = {"principal": principal, "cause": cause, "mode": mode, "grace_s": grace_s, "at": at_us}
        reply = scripts.TERMINATE(
            self._space.client,
            self._space.keys(execution_id).of_transition(execution_id, 1),
            (execution_id, principal, cause, json.dumps(request), self._life_s, REVOKED_RESULT, reason.value, bulk),
        )
        return read_stopped(reply)

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
                len(ended), *ended, len(coming), *coming, function, "",
            ),
        )  # fmt: skip
        return StopFirst() if reply[0] == b"stop" else read_opened(reply)

    @translated
    def lose(
        self, execution_id: str, attempt: int, *, message: str, ended: Sequence[Any]
    ) -> Opened | StopFirst | Poison | Found | Missing:
        """A `retry` of an attempt that ended by a lost worker: after too many of those there is no further one."""
        reply = scripts.RETRY(
            self._space.client,
            self._space.keys(execution_id).of_transition(execution_id, attempt),
            (execution_id, attempt, Reason.RERUN.value, "", message, len(ended), *ended, 0, "", DEFAULT_CRASH_CAP),
        )
        if reply[0] == b"poison":
            return Poison(int(reply[1]))
        return StopFirst() if reply[0] == b"stop" else read_opened(reply)

    @translated
    def rerun(
        self,
        execution_id: str,
        *,
        principal: str,
        message: str = "",
        coming: Sequence[Any] = (),
        function: str = "",
        bulk: str = "",
    ) -> Opened | Found | Missing | Again:
        """Open an ended execution for one more attempt, for a `bulk` once only; `coming` differs in its message."""
        reply = scripts.RERUN(
            self._space.client,
            self._space.keys(execution_id).of_transition(execution_id, 1),
            (execution_id, principal, message, len(coming), *coming, function, bulk),
        )
        return read_reopened(reply)

    @translated
    def park(
        self,
        execution_id: str,
        *,
        reason: Reason = Reason.WAITING,
        message: str = "",
        publish: bool = False,
        attempt: int | None = None,
        service: str = "",
    ) -> Opened | Found | Missing:
        """Say why a waiting execution waits; with `publish`, put it back into the outbox.

        With `attempt`, only where that attempt is the one that is waited for. `service` is what it waits for.
        """
        reply = scripts.PARK(
            self._space.client,
            self._space.keys(execution_id).of_transition(execution_id, 1),
            (
                execution_id, reason.value, message, "1" if publish else "", "" if attempt is None else attempt,
                f"={service}" if service else "",
            ),
        )  # fmt: skip
        return read_opened(reply)

    @translated
    def due(self, execution_ids: Sequence[str]) -> list[Owed | Untold | Expired | Found | Missing]:
        """Take what is owed to executions whose time has come: their messages, which the caller sends now."""
        calls = [
            (self._space.keys(one).of_transition(one, 1), (one, OWED_AGAIN_S, self._life_s)) for one in execution_ids
        ]
        return [read_owed(reply) for reply in scripts.DUE.many(self._space.client, calls)]

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
        return read_opened(reply)

    @translated
    def status_of(self, execution_id: str) -> Status | None:
        """Tell where an execution stands."""
        found: Any = self._space.client.hget(self._space.keys(execution_id).record(execution_id), "st")
        return Status(found.decode()) if found else None

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
        bulk: str = "",
    ) -> Found | Missing | Again | None:
        """Write progress, properties or tags; with an attempt, only while that attempt runs; for a `bulk` once."""
        reply = scripts.ANNOTATE(
            self._space.client,
            self._space.keys(execution_id).of_transition(execution_id, attempt or 1),
            (
                execution_id, "" if attempt is None else attempt,
                len(fields), *fields, len(tags), *tags, len(terms), *terms, bulk,
            ),
        )  # fmt: skip
        return read_annotated(reply)

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
