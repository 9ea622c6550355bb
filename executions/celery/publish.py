"""Every message that an installed app sends is recorded first: the row exists before the message.

Celery has one way out for all of `.delay()`, `.apply_async()`, `send_task`, canvas steps, retries and beat:
`amqp.send_task_message`, which ends in `producer.publish`. The producer is wrapped, so what is recorded is
exactly what is sent, after every signal receiver had its say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from celery.app.amqp import AMQP

from executions import codec, context
from executions.celery.patience import patiently
from executions.celery.site import FUNCTION_OPTIONS, Site, site_of
from executions.celery.transport import BrokerConnection, Channel, Rider, riding, undeclared
from executions.clock import to_us
from executions.dispatch import HEADER
from executions.errors import Conflict, Terminated
from executions.function import Function
from executions.inputs import Inputs, prepare
from executions.lazy import lazy
from executions.policy import FIELD_NAMES, parse_policy
from executions.registry.transitions import Accepted, Ending, Found, Opened, StopFirst, Submission, next_message
from executions.slots import Stop
from executions.states import Reason, Status

#: Options of a call, beside Celery's own.
CALL_OPTIONS = FUNCTION_OPTIONS | {"execution_name", "properties", "principal", "reference"}

#: Celery's own machinery, which nobody asked for by name. Its other built-in tasks (`map`, `starmap`,
#: `accumulate`, ...) have results that somebody waits for, so they are executions like any other.
MACHINERY = frozenset({"celery.backend_cleanup", "celery.chain", "celery.chord", "celery.chord_unlock", "celery.group"})

#: Headers that a message gets anew when it is published again, so they need not be kept.
_DERIVED = frozenset(
    {
        "lang", "task", "id", "eta", "expires", "retries", "root_id", "parent_id", "argsrepr", "kwargsrepr",
        "origin", HEADER,
    }
)  # fmt: skip

_EMPTY_EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


@dataclass(frozen=True)
class Call:
    """What a caller asked for, of which the message does not tell."""

    id: str = ""
    #: Whether the id was made for this very call: no execution can have it yet.
    is_fresh: bool = False
    #: A delay in seconds. The message has a time in its place, by the clock of whoever sends it.
    countdown: float | None = None


_NO_CALL = Call()

#: The call whose message is being sent.
calling: ContextVar[Call] = ContextVar("executions_calling", default=_NO_CALL)


class RecordingAMQP(AMQP):
    """Celery's AMQP with a recorded way out, and the plain one for messages that are recorded already."""

    @lazy
    def Connection(self) -> type[BrokerConnection]:
        site = site_of(self.app)
        assert site is not None
        return BrokerConnection.of(site)

    @lazy
    def send_unrecorded(self) -> Callable[..., Any]:
        """Celery's own way out."""
        return super()._create_task_sender()

    def _create_task_sender(self) -> Callable[..., Any]:
        send = self.send_unrecorded
        site = site_of(self.app)
        assert site is not None

        def send_recorded(producer: Any, name: str, message: Any, **options: Any) -> Any:
            given = {key: options.pop(key) for key in CALL_OPTIONS & options.keys()}
            if name in MACHINERY:
                return send(producer, name, message, **options)
            return send(RecordingProducer(producer, site, name, given), name, message, **options)

        return send_recorded

    def send_new(self, submission: Submission, send: Callable[[Any], None]) -> Accepted | Found | None:
        """Have a row ride with the message that `send` sends by a producer; None where they cannot go together."""
        site = site_of(self.app)
        assert site is not None
        if not site.is_one_server:
            return None
        with self.app.producer_or_acquire(None) as producer:
            if not isinstance(producer.channel, Channel):
                return None
            rider = Rider(site.transitions.submit_call(submission))
            token = riding.set(rider)
            try:
                send(producer)
            finally:
                riding.reset(token)
        if rider.reply is None:
            return site.transitions.submit_raw(rider.call)
        return site.transitions.submit_reply(rider.reply)


class RecordingProducer:
    """Stands before a producer and records each message just before it is sent."""

    def __init__(self, producer: Any, site: Site, function: str, given: dict[str, Any]) -> None:
        self._producer = producer
        self._site = site
        self._function = function
        self._given = given

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def publish(self, body: Any, **options: Any) -> Any:
        """Record, then send. A message that cannot be sent leaves no execution that would run later."""
        context.check_before_sending()
        headers = options["headers"]
        outgoing = Outgoing(self._site, self._function, self._given, body, headers, options)
        rider = outgoing.ride(self._producer)
        attempt = 1 if rider else outgoing.record()
        if attempt is None:
            return None  # The scheduler sends it when its time has come.
        body, options = outgoing.wire(attempt)
        token = riding.set(rider)
        try:
            sent = self._producer.publish(body, **options)
            if rider is not None and rider.reply is None:
                # It went another way than by a plain push: a queue that expires has pushes of its own.
                self._site.transitions.submit_raw(rider.call)
            return sent
        except Exception:
            if outgoing.is_new:
                self._site.transitions.settle(headers["id"], _UNSENT)
            raise
        finally:
            riding.reset(token)


_UNSENT = Ending(
    status=Status.FAILED,
    reason=Reason.REJECTED,
    message="the message could not be sent to the broker",
    result='{"exc_type":"OperationalError","exc_message":["not sent"],"exc_module":"kombu.exceptions"}',
)


@dataclass
class Outgoing:
    """One message on its way out."""

    site: Site
    function: str
    given: dict[str, Any]
    body: Any
    headers: dict[str, Any]
    options: dict[str, Any]
    is_new: bool = False
    payload: str | None = None

    @property
    def id(self) -> str:
        return str(self.headers["id"])

    def ride(self, producer: Any) -> Rider | None:
        """Give the row to be written with the message, where one server takes both and the id is nobody's yet."""
        call = calling.get()
        if not call.is_fresh or call.id != self.id or self.options.get("exchange"):
            return None
        # Whether a time lies ahead is for the registry's clock to say, and then no message is sent at all.
        if self.headers.get("eta"):
            return None
        # Asked last: it connects, and an execution's own message waits for the registry first.
        if not isinstance(producer.channel, Channel):
            return None
        if not self.site.is_one_server:
            return None
        self.options["declare"] = undeclared(producer.channel, self.options.get("declare") or ())
        self.is_new = True
        return Rider(self.site.transitions.submit_call(self._submission()))

    def record(self) -> int | None:
        """Write the message to the registry; give the number of the attempt that it is for, or nothing if it waits."""
        running, submission = context.running(), self._submission()
        if running is not None and running.id == self.id:
            return self._next_attempt(running, submission)
        outcome = self.site.transitions.submit(submission)
        if not isinstance(outcome, Found):
            self.is_new = True
            return 1 if outcome.eta_us is None else None
        return self._sent_again(outcome, submission)

    def _next_attempt(self, running: context.Running, submission: Submission) -> int | None:
        """The running function sends its own message again: `retry()`, or `replace()` by another function."""
        retried = self.headers["retries"] > running.extra.get("retries", 0)
        reason = Reason.RETRYING if retried else Reason.QUEUED
        message = "" if retried else f"replaced by {self.function}"
        ended = running.extra.get("ended", lambda: ())()
        open_next = partial(
            self.site.transitions.retry, self.id, running.attempt, reason=reason, message=message, ended=ended,
            coming=next_message(submission),
            function="" if retried else self.function,
        )  # fmt: skip
        outcome: Any = patiently(open_next, "opening the next attempt")
        if outcome == Found(Status.PENDING, reason, running.attempt):
            # It is open for this reason already: the reply was lost, and the call was made again.
            outcome = Opened(running.attempt + 1)
        if isinstance(outcome, StopFirst):
            running.stopped = running.stopped or Stop.TERMINATE
            raise Terminated(context.TERMINATION_MESSAGE)
        if isinstance(outcome, Opened):
            running.extra["handed_on"] = True
            return _attempt_now(outcome)
        raise Conflict(f"execution {self.id} is not owned by attempt {running.attempt} any more")

    def _sent_again(self, found: Found, submission: Submission) -> int | None:
        """A message for an id that is known: from Celery's own recovery, or from a caller who chose the id."""
        transitions = self.site.transitions
        outcome: Any = found
        if found.status is Status.RUNNING:
            if not self.headers["retries"]:
                raise Conflict(f"execution {self.id} is running; its id cannot be used again before it has ended")
            # Its arguments may be in the payload store, where Celery's recovery knows nothing of them.
            outcome = transitions.retry(
                self.id, found.attempt, message="sent again by Celery", coming=("re", submission.retries)
            )
        elif found.reason is Reason.WAITING and self.headers.get("replaced_task_nesting"):
            outcome = transitions.supply(
                self.id, coming=next_message(submission), function=self.function,
                message=f"{self.function} is what it waited for",
            )  # fmt: skip
        elif found.status.is_terminal:
            outcome = transitions.rerun(
                self.id, principal=self.site.settings.principal, message="sent again under the same id",
                coming=next_message(submission), function=self.function,
            )  # fmt: skip
        elif found.reason is Reason.SCHEDULED:
            return None  # It is accepted already, and goes by its own time.
        return _attempt_now(outcome) if isinstance(outcome, Opened) else found.attempt + 1

    def _submission(self) -> Submission:
        given, headers = self.given, self.headers
        function = self.site.function(self.function) or Function(name=self.function, service=given.get("service"))
        function.check_service(given.get("service"))
        inputs = self._inputs(function)
        self.payload = inputs.reference
        eta, call = _us(headers.get("eta")), calling.get()
        delay = round(call.countdown * 1_000_000) if eta and call.countdown and call.id == self.id else None
        tags = (*function.tags, *(str(tag) for tag in given.get("tags") or ()))
        return Submission(
            id=self.id,
            function=self.function,
            inputs=inputs.shown,
            payload=inputs.true,
            headers=self._kept(),
            chord=_chord_of(self.body[2]),
            options=call_policy(given),
            name=given.get("execution_name"),
            service=function.service,
            pipeline=given.get("pipeline") or function.pipeline,
            stage=given.get("stage") or function.stage,
            queue=self.options.get("routing_key") or self.options.get("exchange") or None,
            principal=given.get("principal") or self.site.settings.principal,
            parent_id=_other(headers.get("parent_id"), self.id),
            root_id=headers.get("root_id"),
            reference=given.get("reference"),
            retries=headers.get("retries") or 0,
            eta_us=eta,
            delay_us=delay if delay is None else max(0, delay),
            expires_us=_us(headers.get("expires")),
            tags=tuple(dict.fromkeys(tags)),
            properties={k: codec.encode(v, f"property {k!r}") for k, v in (given.get("properties") or {}).items()},
            code=self.site.checkouts.own(),
        )

    def _inputs(self, function: Function) -> Inputs:
        """Prepare the arguments; Celery's own copies of them, for its events and logs, lose their secrets too."""
        args, kwargs, _ = self.body
        site = self.site
        inputs = prepare(
            args,
            kwargs,
            site.settings,
            site.payloads,
            names=function.places,
            also=function.redact,
        )
        if inputs.reprs:
            self.headers["argsrepr"], self.headers["kwargsrepr"] = inputs.reprs
        return inputs

    def _kept(self) -> str | None:
        """Keep what publishing the message again needs, besides what the record has anyway."""
        embed = self.body[2]
        headers = {
            key: value
            for key, value in self.headers.items()
            if key not in _DERIVED and value not in (None, 0, [], {}, [None, None])
        }
        properties = {key: self.options[key] for key in ("priority", "exchange") if self.options.get(key)}
        kept: dict[str, Any] = {}
        if embed != _EMPTY_EMBED:
            kept["embed"] = embed
        if headers:
            kept["headers"] = headers
        if properties:
            kept["properties"] = properties
        return codec.encode(kept, "headers") if kept else None

    def wire(self, attempt: int) -> tuple[Any, dict[str, Any]]:
        """Give the body and options as they go out."""
        mark: dict[str, Any] = {"attempt": attempt}
        if self.payload:
            mark["payload"] = self.payload
            self.body = ((), {}, self.body[2])
        # What has a time that is over starts at once, whatever the clock of the worker says.
        self.headers["eta"] = None
        self.headers[HEADER] = mark
        return self.body, self.options


def record_received(site: Site, task: Any, request: Any) -> None:
    """Record an execution whose sender knows nothing of us, or which runs eagerly and was never sent."""
    headers = {
        "id": request.id, "retries": 0, "eta": None, "expires": request.expires,
        "parent_id": request.parent_id, "root_id": request.root_id,
    }  # fmt: skip
    caller = context.running()
    if request.is_eager and caller is not None and not headers["parent_id"]:
        # Celery before 5.5 told an eager run nothing of its caller.
        headers |= {"parent_id": caller.id, "root_id": caller.extra.get("root_id")}
    embed = {
        "callbacks": request.callbacks,
        "errbacks": request.errbacks,
        "chain": request.chain,
        "chord": request.chord,
    }
    body = (request.args or (), request.kwargs or {}, embed)
    queue = (request.delivery_info or {}).get("routing_key")
    outgoing = Outgoing(site, task.name, {}, body, headers, {"routing_key": queue})
    site.transitions.submit(outgoing._submission())


def call_policy(given: Mapping[str, Any]) -> dict[str, Any]:
    """Check the policy options of a call."""
    return parse_policy({key: value for key, value in given.items() if key in FIELD_NAMES}).as_dict()


def _chord_of(embed: Mapping[str, Any]) -> str:
    """Say which chord is told of an end; a chain is kept last step first."""
    if embed.get("chord"):
        return "member"
    steps = embed.get("chain") or ()
    return "chain" if any("chord" in (step.get("options") or {}) for step in steps) else ""


def _attempt_now(opened: Opened) -> int | None:
    return opened.attempt if opened.eta_us is None else None


def _other(parent_id: str | None, own_id: str) -> str | None:
    # A retried top-level task names itself as its parent.
    return parent_id if parent_id != own_id else None


def _us(value: Any) -> int | None:
    if not value:
        return None
    return to_us(datetime.fromisoformat(value) if isinstance(value, str) else value)
