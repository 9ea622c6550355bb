"""From the registry to the broker: the only publisher of messages that are recorded already."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError
from kombu.transport import TRANSPORT_ALIASES, redis

from executions import codec
from executions.clock import to_datetime
from executions.desk import Desk, Push
from executions.errors import Unavailable
from executions.lazy import lazy
from executions.queue import Position
from executions.registry.address import broker_at, is_registry_url, verified
from executions.registry.connection import translated
from executions.registry.held import Held, client_on
from executions.registry.outcomes import Owed
from executions.registry.space import Space
from executions.registry.transitions import Accepted, Found, Submission

#: The header in which a message carries its attempt and, where its arguments are large, where they are.
HEADER = "executions"

#: Where a function goes that nobody chose a queue for, and which no route is known of here.
DEFAULT_QUEUE = "celery"


#: Messages at the end of a queue that are looked at for the oldest: what a worker gave back may lie before older ones.
OLDEST_READ = 200

#: Messages of each priority that are looked at for the place of one.
PLACES_READ = 500

#: Seconds that a look at the broker may take.
BROKER_PATIENCE_S = 3.0


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """A message to be sent."""

    id: str
    function: str
    attempt: int
    args: Any = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    #: What Celery's events and logs show of the arguments, where that is not what they are.
    reprs: tuple[str, str] | None = None
    queue: str | None = None
    payload: str | None = None
    parent_id: str | None = None
    root_id: str | None = None
    expires_us: int | None = None
    retries: int = 0
    kept: Mapping[str, Any] = field(default_factory=dict)


class Dispatcher:
    """Sends messages through one Celery app: the user's, or a bare one that only knows the broker."""

    def __init__(self, app: Celery, *, declares: bool = True) -> None:
        self.app = app
        #: Whether the queue of a message is made where there is none.
        self._declares = declares

    @classmethod
    def to(cls, broker_url: str) -> Dispatcher:
        """Make a dispatcher for a broker, where no app is at hand."""
        accept_valkey_urls()
        app = Celery("executions.client", set_as_current=False)
        use_broker(app, broker_url)
        app.conf.update(broker_connection_retry_on_startup=False, task_publish_retry_policy=_PUBLISH_RETRY)
        # A bare app cannot know of which type the workers' queues are, and RabbitMQ refuses to have them declared
        # otherwise. What goes to a queue that nobody has declared is lost there, and sent again by upkeep.
        return cls(app, declares=not app.conf.broker_url.startswith(("amqp", "pyamqp")))

    def publish(self, envelope: Envelope, producer: Any = None) -> None:
        """Send one message."""
        message, options = _message(self.app, envelope)
        if not self._declares:
            options["declare"] = []
        amqp = self.app.amqp
        # An installed app has a recorded way out, made at the first look at it, and keeps the plain one beside it.
        # This message is recorded already.
        recorded = amqp.send_task_message
        send = getattr(amqp, "send_unrecorded", recorded)
        try:
            with self.app.producer_or_acquire(producer) as held:
                send(held, envelope.function, message, **options)
        except OperationalError as error:
            raise Unavailable(f"the broker cannot be reached: {error}") from error

    def send_new(self, submission: Submission, envelope: Envelope) -> Accepted | Found | None:
        """Write a row and send its message in one step by way of an installed app; None where that cannot be."""
        send = getattr(self.app.amqp, "send_new", None)
        sent: Accepted | Found | None = send(submission, partial(self.publish, envelope)) if send else None
        return sent

    def written(self, envelopes: Iterable[Envelope]) -> list[Push]:
        """Write messages for Redis that somebody else pushes, together with their rows."""
        for envelope in envelopes:
            message, options = _message(self.app, envelope)
            # Workers declare what they consume, and a push needs no more than the list's name.
            self.app.amqp.send_task_message(
                self._desk.producer, envelope.function, message, **options, declare=[], retry=False
            )
        return self._desk.take()

    def publish_many(self, envelopes: list[Envelope]) -> None:
        """Send many messages over one connection, in batches where the transport can."""
        with self.app.producer_or_acquire(None) as producer:
            in_batches = getattr(producer, "supports_batch_publish", False)
            try:
                # What is published through the producer meanwhile goes into the batch.
                with producer.batch() if in_batches else nullcontext():
                    for envelope in envelopes:
                        self.publish(envelope, producer)
            except OperationalError as error:
                raise Unavailable(f"the broker cannot be reached: {error}") from error

    def reach(self) -> str:
        """Open a connection to the broker and give its address without the password; raises `Unavailable`."""
        try:
            opened = self.app.connection_for_write()
            address, _ = str(opened.as_uri()), opened.transport
        except Exception as error:
            # Where a driver is missing each transport raises something else: no module, no name, no such key.
            scheme = str(self.app.conf.broker_write_url or self.app.conf.broker_url).partition("://")[0]
            raise Unavailable(
                f"the driver for {scheme}:// brokers cannot be loaded, is it installed? {error}"
            ) from error
        with opened as connection:
            try:
                connection.ensure_connection(max_retries=1, interval_start=0, timeout=BROKER_PATIENCE_S)
            except self._errors as error:
                raise Unavailable(f"the broker at {address} cannot be reached: {error}") from error
        return address

    def depth(self, queue: str) -> int:
        """Tell how many messages wait in a queue; 0 where there is no such queue."""
        name = queue or self.app.conf.task_default_queue or DEFAULT_QUEUE
        try:
            with self.app.connection_for_read() as connection:
                found = connection.default_channel.queue_declare(queue=name, passive=True)
                return int(found.message_count)
        except self._errors:
            return 0

    def oldest(self, queue: str) -> list[str] | None:
        """Give the ids of the messages that are taken next from a queue, some of each priority.

        `None` where the broker cannot say it. A message that is none of ours has the id it came with, or none.
        """
        lists = self._next_of(self._name_of(queue), OLDEST_READ)
        return None if lists is None else [one for _, ids in lists for one in ids]

    def position(self, queue: str, execution_id: str) -> Position | None:
        """Tell where the message of an execution lies; `None` where it is in no list, or the broker cannot say it."""
        name = self._name_of(queue)
        lists = self._next_of(name, PLACES_READ)
        return None if lists is None else _place_in(name, lists, execution_id)

    def _name_of(self, queue: str) -> str:
        return queue or self.app.conf.task_default_queue or DEFAULT_QUEUE

    def _next_of(self, queue: str, count: int) -> list[tuple[int, list[str]]] | None:
        """Read each list of a queue: its length, and the ids of the messages that are taken next from it."""
        try:
            with self.app.connection_for_read() as connection:
                channel = connection.default_channel
                if not isinstance(channel, redis.Channel):
                    return None
                pipeline = channel.client.pipeline(transaction=False)
                for one in _lists(channel, queue):
                    pipeline.llen(one).lrange(one, -count, -1)
                found = iter(pipeline.execute())
        except self._errors:
            return None
        return [(size, [_id_in(text) for text in reversed(texts)]) for size, texts in zip(found, found, strict=True)]

    def in_hands(self, namespace: str) -> set[str]:
        """Give the ids of executions whose messages workers hold; none where the broker cannot say it."""
        with self.held(namespace) as held:
            return {_id_in(text) for text in held.messages()} if held is not None else set()

    @contextmanager
    def held(self, namespace: str) -> Iterator[Held | None]:
        """Reach the messages that workers hold; there are none where the broker is not Redis."""
        with self.app.connection_for_write() as connection:
            if connection.transport.driver_type != "redis":
                yield None
                return
            try:
                channel = connection.default_channel
                yield Held(client_on(channel.pool), namespace, channel.global_keyprefix)
            except self._errors as error:
                raise Unavailable(f"the broker cannot be reached: {error}") from error

    @lazy
    def _desk(self) -> Desk:
        return Desk(self.app)

    @lazy
    def _errors(self) -> tuple[type[Exception], ...]:
        """What the broker's driver raises where a queue, or the broker itself, is not there."""
        connection = self.app.connection_for_read()
        # A transport whose driver is not installed says so only when it is used.
        return (OperationalError, ImportError, *connection.channel_errors, *connection.connection_errors)

    @translated
    def send_owed(self, space: Space, owed: Mapping[str, Owed]) -> None:
        """Send the messages of executions whose time has come, or of one that others wait for in vain."""
        pipeline = space.client.pipeline(transaction=False)
        for one in owed:
            pipeline.hgetall(space.keys(one).record(one))
        found = zip(owed.items(), pipeline.execute(), strict=True)
        # The attempt that was owed, whatever has happened since: a message that comes too late is refused.
        self.publish_many([replace(envelope_of(one, _text(raw)), attempt=what.attempt) for (one, what), raw in found])

    def as_received(self, execution_id: str, raw: Mapping[str, str]) -> dict[str, Any]:
        """Give what a worker would know of an execution's message, as Celery's requests have it."""
        message, _ = _message(self.app, envelope_of(execution_id, raw))
        return {**message.headers, **message.body[2]}

    @translated
    def republish(self, space: Space, execution_id: str) -> bool:
        """Send the message of a waiting execution again, from what its record keeps."""
        raw = self.kept(space, execution_id)
        if raw.get("st") != "pending":
            return False
        self.publish(envelope_of(execution_id, raw))
        return True

    @translated
    def kept(self, space: Space, execution_id: str) -> dict[str, str]:
        """Read all that a record keeps, its message among it; empty where there is none."""
        return _text(space.client.hgetall(space.keys(execution_id).record(execution_id)))


def _lists(channel: redis.Channel, queue: str) -> list[str]:
    """Give the lists of a queue, one for each priority, in the order in which they are taken from."""
    prefix = channel.global_keyprefix or ""
    return [f"{prefix}{channel._q_for_pri(queue, step)}" for step in channel.priority_steps]


def _place_in(queue: str, pieces: list[tuple[int, list[str]]], execution_id: str) -> Position | None:
    """Find an id in what was read of each list: its length, and the ids that are taken next."""
    length, before, unread = sum(size for size, _ in pieces), 0, None
    for at, (size, ids) in enumerate(pieces):
        if execution_id in ids:
            # What comes later with a higher priority is taken before it.
            return Position(queue, before + ids.index(execution_id), length, is_about=at > 0)
        if size > len(ids) and unread is None:
            unread = before + len(ids)
        before += size
    return None if unread is None else Position(queue, unread, length, is_found=False)


def _text(raw: Mapping[bytes, bytes]) -> dict[str, str]:
    return {key.decode(): value.decode(errors="replace") for key, value in raw.items()}


def _id_in(message: bytes) -> str:
    """Give the id in a message as kombu writes it; nothing where it is none."""
    try:
        return str(json.loads(message)["headers"]["id"])
    except (ValueError, TypeError, LookupError):
        return ""


#: A client that waits for a broker must not wait for ever.
_PUBLISH_RETRY = {"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 1.0}


def accept_valkey_urls() -> None:
    """Teach kombu the schemes of Valkey, which speaks Redis's protocol."""
    TRANSPORT_ALIASES.setdefault("valkey", TRANSPORT_ALIASES["redis"])
    TRANSPORT_ALIASES.setdefault("valkeys", TRANSPORT_ALIASES["rediss"])


def use_broker(app: Celery, url: str) -> None:
    """Have an app send to a broker; where a registry's URL names it, as kombu names that server."""
    broker, options = broker_at(url) if is_registry_url(url) else (url, {})
    app.conf.update(broker_url=broker, broker_transport_options={**app.conf.broker_transport_options, **options})


def plain_broker_url(url: str) -> str:
    """Write a broker's URL with a scheme that kombu, and what is built on it, knows."""
    for ours, theirs in (
        ("valkeys://", "rediss://"),
        ("valkey://", "redis://"),
        ("unix://", "redis+socket://"),
    ):
        if url.startswith(ours):
            url = theirs + url.removeprefix(ours)
    return verified(url)


def envelope_of(execution_id: str, raw: Mapping[str, str]) -> Envelope:
    """Make the message of an execution from its record."""
    true = raw.get("pay")
    payload = true if true and true.startswith("@") else None
    args, kwargs = ((), {}) if payload else codec.decode(true or raw["in"])[:2]
    shown = codec.decode(raw["in"]) if true else None
    return Envelope(
        id=execution_id,
        function=raw["fn"],
        attempt=int(raw.get("at", 0)) + 1,
        args=args,
        kwargs=kwargs,
        reprs=(repr(tuple(shown[0])), repr(shown[1])) if shown else None,
        queue=raw.get("qu"),
        payload=payload,
        parent_id=raw.get("pa"),
        root_id=raw.get("ro"),
        expires_us=int(raw["ex"]) if raw.get("ex") else None,
        retries=int(raw.get("re") or 0),
        kept=codec.decode(raw["hd"]) if raw.get("hd") else {},
    )


def _message(app: Celery, envelope: Envelope) -> tuple[Any, dict[str, Any]]:
    headers = dict(envelope.kept.get("headers") or {})
    embed = envelope.kept.get("embed") or {}
    limits = headers.pop("timelimit", None) or (None, None)
    argsrepr, kwargsrepr = envelope.reprs or (None, None)
    # The first of a group is kept without its index, which is nought.
    group = headers.pop("group", None)
    message = app.amqp.as_task_v2(
        envelope.id,
        envelope.function,
        args=tuple(envelope.args),
        kwargs=dict(envelope.kwargs),
        argsrepr=argsrepr,
        kwargsrepr=kwargsrepr,
        expires=to_datetime(envelope.expires_us),
        group_id=group,
        group_index=headers.pop("group_index", None if group is None else 0),
        retries=envelope.retries,
        chord=embed.get("chord"),
        callbacks=embed.get("callbacks"),
        errbacks=embed.get("errbacks"),
        chain=embed.get("chain"),
        time_limit=limits[0],
        soft_time_limit=limits[1],
        root_id=envelope.root_id,
        parent_id=envelope.parent_id,
        ignore_result=headers.pop("ignore_result", False),
        replaced_task_nesting=headers.pop("replaced_task_nesting", 0),
    )
    mark: dict[str, Any] = {"attempt": envelope.attempt}
    if envelope.payload:
        mark["payload"] = envelope.payload
    message.headers.update(headers)
    message.headers[HEADER] = mark
    properties = envelope.kept.get("properties") or {}
    options: dict[str, Any] = {"serializer": "json"}
    if "priority" in properties:
        options["priority"] = properties["priority"]
    if properties.get("exchange"):
        options |= {"exchange": properties["exchange"], "routing_key": envelope.queue}
    else:
        options["queue"] = envelope.queue or app.conf.task_default_queue or DEFAULT_QUEUE
    return message, options
