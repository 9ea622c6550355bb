"""How a worker takes messages from Redis: each is moved into a list of the worker's own, in one step.

kombu pops a message and registers it as unacknowledged by a second command; who dies between the two loses it.
Here no message is ever nowhere. A channel that consumes with acknowledgements, in a worker's parent process,
fetches what waits by one script, in the order of priority and with queues taking turns. Only where that gives
less than there is room for does one connection for each source (queue and priority step) wait in `BLMOVE`.
All other channels, queues, keys and messages are kombu's.

Who can die when, and what then happens:

| what happens | where the message is | who mends it |
|---|---|---|
| worker killed before the move | in its queue | nobody needs to |
| worker killed after the move, before the start | in the held list | the restorer, when the term is over |
| killed or cut off before an acknowledgement came | in the held list | as above and below; its start is refused |
| worker killed between acknowledgement and start | nowhere; its row is in the outbox | the publisher |
| the restorer, half-way | in one of the two lists | its next run |
| connection cut, also in a `BLMOVE` | held, or in its queue | the channel gives all back, or the process's next one |
| server restarted | wherever it was written last | as above |
| worker stopped past its lease, and resumed | in its queue, and in the worker | one of the two is started |
| orderly stop | in its queue again | the channel, as it closes |
| the broker answers nothing | in one of the two lists | the worker connects anew after `OVERDUE_S` |

A process is one holder for as long as any term of it stands: a worker that lost its lease and came back holds
what it holds. `visibility_timeout` plays no part. The sweep that kombu makes for it goes on, for the sake of stock
workers on the same queue, and finds nothing of ours.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from kombu.utils.json import dumps, loads

from executions.celery.site import Place
from executions.clock import SYSTEM_CLOCK
from executions.registry.held import Held, OneTry, connection_like
from executions.telemetry import log

logger = logging.getLogger(__name__)

#: Messages that one fetch brings at most, and fetches in a row before the worker looks at anything else.
FETCHED_AT_ONCE = 32
FETCHES_IN_A_ROW = 4

#: Seconds that a waiting command waits, and how long its answer may be late before the connection counts as dead.
WAIT_S = 1
OVERDUE_S = 5.0

#: A message that came this soon after the wait for it began, or within two round trips, was there already: there
#: are others, so fetch them. Where messages come one by one, waiting anew costs less than a fetch that finds nothing.
BURST_S = 0.001

#: Seconds after which there is a fetch even if nothing comes: it lists the holder anew, see the restorer.
RELISTED_S = 5.0

#: Seconds that a worker leaves a server alone which refused a command, out of memory for example.
REFUSED_PAUSE_S = 1.0

#: How long to look for what a lost connection moved last: commands on their way may be carried out late.
LATE_S = 60.0

#: Seconds that a worker without an event loop waits while it is full: acknowledgements wait for it meanwhile.
FULL_PAUSE_S = 0.05

#: What the server says that will not get better on this connection.
_CONNECT_ANEW = ("READONLY", "LOADING", "MASTERDOWN", "UNBLOCKED")


@dataclass(eq=False)
class Arm:
    """A connection that waits for one source."""

    queue: str
    source: str
    connection: Any
    client_id: int
    #: When the command was sent that has not been answered yet.
    since: float | None = None


@dataclass
class Holder:
    """One consuming channel: what it holds, and how it gets more."""

    channel: Any
    place: Place
    namespace: str
    arms: dict[str, Arm] = field(default_factory=dict)
    #: Source and bytes of every message that is not acknowledged, by its delivery tag.
    kept: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    closed: bool = False

    def __post_init__(self) -> None:
        channel = self.channel
        self.name = f"{self.place.process}.{next(self.place.numbers)}"
        self._wire = OneTry(connection_like(channel.pool))
        self._held = Held(self._wire, self.namespace, channel.global_keyprefix)
        self._known: dict[str, None] = {}
        self._dry = False
        self._round_trip_s = 0.0
        self._asks = FETCHED_AT_ONCE
        self._fetched_at = 0.0
        self._paused_until = 0.0
        self._broken: BaseException | None = None

    # -- taking --

    @property
    def room(self) -> int:
        """How many messages the worker takes now."""
        qos = self.channel.qos
        if self.closed or not qos.can_consume():
            return 0
        limit = qos.can_consume_max_estimate()
        return FETCHED_AT_ONCE if limit is None else max(1, min(limit, FETCHED_AT_ONCE))

    def look(self, cycle: Any) -> bool:
        """Take what is there, or see to it that what comes is noticed; tell whether a message came."""
        if self._broken is not None:
            raise ConnectionError(f"the broker did not take an acknowledgement: {self._broken}")
        self._wire.settle()
        now = SYSTEM_CLOCK.monotonic()
        self._check_overdue(now)
        if not self.channel.active_queues or not self.room:
            self.place.progress = now
            return False
        if now < self._paused_until:
            return False
        if now > self._fetched_at + RELISTED_S:
            self._dry = False
        came = False
        for _ in range(FETCHES_IN_A_ROW):
            if self._dry or not self.room:
                break
            came = self._fetch() or came
        if self.room and now >= self._paused_until:
            self._arm(cycle)
        return came

    def _sources(self) -> dict[str, str]:
        """Give the queue of each source, in the order in which they are to be asked."""
        channel = self.channel
        queues = channel._queue_cycle.consume(len(channel.active_queues))
        return {channel._q_for_pri(queue, step): queue for step in channel.priority_steps for queue in queues}

    def _fetch(self) -> bool:
        now = SYSTEM_CLOCK.monotonic()
        self._take_left(now)
        sources = self._sources()
        if not sources:
            # Cancelled since it was looked: other greenlets run while this one waits for a reply.
            return False
        turn = len(set(sources.values())) if self.channel.queue_order_strategy == "round_robin" else 1
        asked = min(self.room, self._asks)
        self._known.update(dict.fromkeys(sources))
        try:
            found = self._held.fetch(self.name, list(sources), asked, turn)
        except self.channel.ResponseError as error:
            self._refused(error, now)
            return False
        self.place.progress = self._fetched_at = now
        self._round_trip_s = SYSTEM_CLOCK.monotonic() - now
        self._dry = len(found) < asked
        taken = self._deliver_all([(sources[source], source, message) for source, message in found])
        # A limit that counts otherwise than by messages shows only now.
        self._asks = min(2 * self._asks, FETCHED_AT_ONCE) if taken == len(found) else max(1, taken)
        return taken > 0

    def _arm(self, cycle: Any) -> None:
        for source, queue in self._sources().items():
            arm = self.arms.get(source)
            if arm is None:
                arm = self.arms[source] = self._new_arm(queue, source)
                cycle._register(self.channel, arm, arm)
            if arm.since is None:
                command = self._held.waiting(self.name, source, WAIT_S)
                arm.connection.send_command(*command, check_health=False)
                arm.since = SYSTEM_CLOCK.monotonic()

    def _new_arm(self, queue: str, source: str) -> Arm:
        # One of the kind that takes itself off the event loop when it is closed.
        connection = connection_like(self.channel.async_pool)
        connection.connect()
        connection.send_command("CLIENT", "ID", check_health=False)
        return Arm(queue, source, connection, int(connection.read_response()))

    def take(self, arm: Arm) -> None:
        """Read what a waiting command brought."""
        now = SYSTEM_CLOCK.monotonic()
        since, message = self._answer(arm, now)
        if message is None:
            return
        self._dry = now - since > max(BURST_S, 2 * self._round_trip_s)
        self._deliver_all([(arm.queue, arm.source, message)])

    def _answer(self, arm: Arm, now: float) -> tuple[float, bytes | None]:
        since, arm.since = arm.since, None
        if since is None:
            raise ConnectionError("the broker closed a connection that waited for nothing")
        try:
            message = arm.connection.read_response()
        except self.channel.ResponseError as error:
            self._refused(error, now)
            return since, None
        self.place.progress = now
        return since, message

    def _check_overdue(self, now: float) -> None:
        for arm in list(self.arms.values()):
            if arm.since is not None and now > arm.since + WAIT_S + OVERDUE_S:
                # After a pause of this process the answer is there, and was only not read.
                if not arm.connection.can_read(timeout=0):
                    # The other connection would only be waited for as well.
                    self._wire.close()
                    raise ConnectionError(f"the broker has not answered for {now - arm.since:.0f} s")
                self.take(arm)

    def _refused(self, error: BaseException, now: float) -> None:
        """The server will not: leave it alone for a moment, what runs here does not mind."""
        if str(error).startswith(_CONNECT_ANEW):
            raise ConnectionError(str(error)) from error
        log(logger, "broker.refused", error=error)
        self._paused_until = now + REFUSED_PAUSE_S

    # -- handing to Celery --

    def _deliver_all(self, found: list[tuple[str, str, bytes]]) -> int:
        """Deliver while there is room, and give the rest back at once; tell how many were delivered."""
        waiting = deque(found)
        try:
            while waiting and self.room:
                self._deliver(*waiting.popleft())
        finally:
            for _, source, message in reversed(waiting):
                self._held.requeue(self.name, source, message, message, next_=True)
        return len(found) - len(waiting)

    def _deliver(self, queue: str, source: str, message: bytes) -> None:
        channel = self.channel
        tag, payload = _read(message)
        if payload is None:
            log(logger, "message.unreadable", source=repr(source), message=repr(message[:200]))
        if payload is None or tag in self.kept:
            # The second of two equal messages: the restorer took this worker for dead, and gave the first one back.
            self._wire.do(*self._held.forgetting(self.name, source, message))
        elif queue not in channel.active_queues:
            self._held.requeue(self.name, source, message, message, next_=True)
        else:
            self.kept[tag] = source, message
            channel._queue_cycle.rotate(queue)
            channel.connection._deliver(payload, queue)
            if queue in channel.without_acks:
                self.ack(tag)

    # -- letting go --

    def ack(self, tag: str, *, requeue: bool = False) -> bool:
        """Let go of a message, or put it back after all others; tell whether it was one of ours."""
        if self.closed:
            # It went back when the channel ended.
            return tag in self.kept
        source, message = self.kept.pop(tag, ("", b""))
        if not source:
            return False
        try:
            if requeue:
                self._held.requeue(self.name, source, message, _redelivered(message), next_=False)
            else:
                # Its reply is read when the worker next looks. What gets lost until then is held, and comes twice.
                self._wire.send(*self._held.forgetting(self.name, source, message))
        except BaseException as error:
            # Nobody would let go of it again: the channel has to end.
            self._broken = error
            raise
        return True

    def give_back(self) -> None:
        """Put all that is held back into its queues."""
        self.kept.clear()
        self._give_back(self.name, self._known)

    def _give_back(self, name: str, sources: Iterable[str]) -> None:
        for source in sources:
            self._held.give_back(name, source)

    def _take_left(self, now: float) -> None:
        """Give back what lost connections of this process held."""
        for one in list(self.place.left):
            name, sources, until = one
            self._give_back(name, sources)
            if now > until:
                self.place.left.remove(one)

    def settle(self) -> None:
        """Have no command wait for queues that are not consumed any more."""
        active = self.channel.active_queues
        self._disarm([arm for arm in self.arms.values() if arm.queue not in active])

    def _disarm(self, arms: Iterable[Arm]) -> None:
        waiting = [arm for arm in arms if arm.since is not None]
        for arm in waiting:
            # Where that is not allowed, the command ends by itself within `WAIT_S`.
            with suppress(self.channel.ResponseError):
                self._wire.do("CLIENT", "UNBLOCK", arm.client_id)
        for arm in waiting:
            _, message = self._answer(arm, SYSTEM_CLOCK.monotonic())
            if message is not None:
                self._held.requeue(self.name, arm.source, message, message, next_=True)

    def close(self) -> None:
        """End: first what could still bring messages, then give back those that are here."""
        if self.closed:
            return
        self.closed = True
        try:
            self._disarm(self.arms.values())
            self._give_back(self.name, self._known)
        except (*self.channel.connection_errors, self.channel.ResponseError) as error:
            log(logger, "broker.refused", error=error, while_doing="give back")
            self.place.left.append((self.name, list(self._known), SYSTEM_CLOCK.monotonic() + LATE_S))
        finally:
            self._wire.close()
            self._close_arms()

    def _close_arms(self) -> None:
        cycle = self.channel.connection.cycle
        for arm in self.arms.values():
            sock = cycle._chan_to_sock.get((self.channel, arm, arm))
            with suppress(AttributeError, KeyError, OSError, TypeError, ValueError):
                cycle._fd_to_chan.pop(sock.fileno(), None)
                cycle.poller.unregister(sock)
            arm.connection.disconnect()
            cycle._chan_to_sock.pop((self.channel, arm, arm), None)
        self.arms.clear()


def _read(message: bytes) -> tuple[str, Any]:
    """Give a message's delivery tag and its content; no content where it is no message."""
    try:
        payload = loads(message.decode())
        return str(payload["properties"]["delivery_tag"]), payload
    except (ValueError, TypeError, KeyError, LookupError):
        return "", None


def _redelivered(message: bytes) -> bytes:
    """Mark a message as kombu does when it goes back."""
    _, payload = _read(message)
    payload.setdefault("headers", {})["redelivered"] = True
    payload["properties"].setdefault("delivery_info", {})["redelivered"] = True
    return str(dumps(payload)).encode()
