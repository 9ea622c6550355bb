"""kombu's Redis transport with one client for each channel, instead of a new one for each message.

kombu makes a `redis.Redis` for every publish, every delivery and every acknowledgement: 70 to 80 microseconds
each, a quarter of what a submit costs. A client has no state but its pool, so one serves them all.

Where the registry is the broker's server, the row and the message go there together: the script that writes the row
pushes the message too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from queue import Empty
from typing import Any

from kombu import connection
from kombu.abstract import MaybeChannelBound
from kombu.transport import pyamqp, redis, virtual

from executions.celery import rabbitmq
from executions.celery.holding import FULL_PAUSE_S, Arm, Holder
from executions.celery.site import Site
from executions.registry.held import PATIENCE_S, client_on
from executions.registry.scripts import SUBMIT, Call


@dataclass
class Rider:
    """The row that goes with the next message."""

    call: Call
    #: What the script answered; nothing until the message has been sent.
    reply: Any = None


#: Set around the sending of a message whose row is still to be written.
riding: ContextVar[Rider | None] = ContextVar("executions_rider", default=None)


@dataclass
class _Carrying:
    """Stands in for a channel's client while it pushes one message, and writes the row with it."""

    client: Any
    rider: Rider
    #: What the app has put in front of the broker's keys. The registry's have none.
    prefix: str

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def lpush(self, key: str, message: str) -> None:
        keys, args = self.rider.call
        self.rider.reply = SUBMIT(self.client, (*keys, self.prefix + key), (*args, message))


class QoS(redis.QoS):
    """kombu's, but for messages that a holder has."""

    @property
    def _holder(self) -> Holder | None:
        found: Holder | None = self.channel.holder
        return found

    def append(self, message: Any, delivery_tag: str) -> None:
        holder = self._holder
        if holder is not None and delivery_tag in holder.kept:
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        if self._holder is not None and self._holder.ack(delivery_tag):
            virtual.QoS.ack(self, delivery_tag)
        else:
            super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        if self._holder is not None and self._holder.ack(delivery_tag, requeue=requeue):
            virtual.QoS.ack(self, delivery_tag)
        else:
            super().reject(delivery_tag, requeue)

    def restore_unacked(self, client: Any = None) -> Any:
        holder = self._holder
        if holder is not None:
            for tag in list(holder.kept):
                self._delivered.pop(tag, None)
            if not holder.closed:
                holder.give_back()
        return super().restore_unacked(client)


class Poller(redis.MultiChannelPoller):
    """kombu's, with holders that see to themselves."""

    def _holders(self) -> list[Holder]:
        return [channel.holder for channel in self._channels if channel.holder is not None]

    def on_poll_start(self) -> None:
        for holder in self._holders():
            holder.look(self)
        super().on_poll_start()

    def _register_BRPOP(self, channel: Any) -> None:
        if channel.holder is None:
            super()._register_BRPOP(channel)

    def on_readable(self, fileno: int) -> Any:
        channel, kind = self._fd_to_chan.get(fileno, (None, None))
        if isinstance(kind, Arm):
            return channel.holder.take(kind)
        return super().on_readable(fileno)

    def get(self, callback: Any, timeout: float | None = None) -> Any:
        """Wait for an event, where there is no event loop."""
        holders = self._holders()
        if any([holder.look(self) for holder in holders]):
            return None
        if all(holder.room for holder in holders):
            return super().get(callback, timeout)
        try:
            return super().get(callback, min(timeout or FULL_PAUSE_S, FULL_PAUSE_S))
        except Empty:
            return None


class Channel(redis.Channel):
    """A channel that makes its client once for each pool, and holds what a worker takes; see holding.py."""

    QoS = QoS
    #: Set once a worker's parent process consumes with acknowledgements on this channel.
    holder: Holder | None = None
    #: kombu waits for ever where the options say nothing, and a server may go silent without closing anything.
    socket_timeout: Any = PATIENCE_S
    socket_connect_timeout: Any = PATIENCE_S

    _cached: tuple[Any, Any] = (None, None)
    _carried: Rider | None = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        if asynchronous:
            return super()._create_client(asynchronous=True)
        pool, client = self._cached
        if pool is None or pool is not self._pool:
            client = super()._create_client()
            self._cached = (self._pool, client)
        return client

    def __init__(self, *args: Any, **options: Any) -> None:
        #: Queues that are consumed without acknowledgements.
        self.without_acks: set[str] = set()
        super().__init__(*args, **options)

    def basic_consume(self, queue: str, no_ack: bool, *args: Any, **options: Any) -> Any:
        if no_ack:
            self.without_acks.add(queue)
        elif self.holder is None and self.ack_emulation and queue not in self._fanout_queues:
            self.holder = self._new_holder()
        return super().basic_consume(queue, no_ack, *args, **options)

    def _new_holder(self) -> Holder | None:
        site: Site | None = getattr(self.connection.client, "site", None)
        # Children of a pool have their parent's place, and a slot of their own.
        if site is None or site.place is None or site.place.own_slot is not None:
            return None
        return Holder(self, site.place, site.settings.namespace)

    def _basic_cancel(self, consumer_tag: str) -> Any:
        cancelled = super()._basic_cancel(consumer_tag)
        if self.holder is not None and not self.holder.closed:
            self.holder.settle()
        return cancelled

    def _poll_error(self, type: Any, **options: Any) -> None:
        if isinstance(type, Arm):
            assert self.holder is not None
            self.holder.take(type)
        else:
            super()._poll_error(type, **options)

    def close(self) -> None:
        if self.holder is not None and not self.closed:
            self.holder.close()
        super().close()

    def _put(self, queue: str, message: Any, **options: Any) -> None:
        rider = riding.get()
        # A message that is sent again after a lost connection has its row already, or brings it now.
        self._carried = rider if rider is not None and rider.reply is None else None
        try:
            super()._put(queue, message, **options)
        finally:
            self._carried = None

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        with super().conn_or_acquire(client) as found:
            if self._carried is None:
                yield found
            else:
                # kombu's own would put the prefix before the registry's keys as well.
                plain = client_on(self.pool) if self.global_keyprefix else found
                yield _Carrying(plain, self._carried, self.global_keyprefix)


def undeclared(channel: Channel, entities: Iterable[Any]) -> list[Any]:
    """Leave out what a channel's connection has declared already: kombu makes two copies of each to find that out."""
    known = channel.connection.client.declared_entities
    return [one for one in entities if not (one.can_cache_declaration and hash(one) in known)]


class Transport(redis.Transport):
    """The same transport, made of such channels."""

    Channel = Channel
    #: A server that refuses, as a replica, out of memory or without its disk, is one to connect to again. kombu does so
    #: for who sends; to a worker that connects it would be the end.
    connection_errors: Any = (*redis.Transport.connection_errors, *redis.Transport.channel_errors)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.cycle: Any = Poller()
        #: What this transport has a worker's loop call before each look at its sockets, and the loop's list of it.
        self._ticks: tuple[set[Any], set[Any]] = set(), set()

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        before = set(loop.on_tick)
        super().register_with_event_loop(connection, loop)
        self._ticks = loop.on_tick - before, loop.on_tick

    def close_connection(self, connection: Any) -> None:
        # kombu leaves it there: each lost connection would cost memory, and a little time at each look, for good.
        own, of_loop = self._ticks
        of_loop -= own
        super().close_connection(connection)


#: By the transport of kombu that each takes the place of.
_OURS = {redis.Transport: Transport, pyamqp.Transport: rabbitmq.Transport}


class _OurTransport:
    """Takes our transports for kombu's; URLs, and every other transport, stay as they are."""

    def get_transport_cls(self) -> Any:
        found = super().get_transport_cls()  # type: ignore[misc]
        return _OURS.get(found, found)

    def ensure(self, obj: Any, fun: Any, *args: Any, **options: Any) -> Any:
        """Try again after a lost connection, but not to declare something on a channel that went with it.

        kombu would connect anew for that without end. Who sends has another try, and another channel.
        """
        return fun if isinstance(obj, MaybeChannelBound) else super().ensure(obj, fun, *args, **options)  # type: ignore[misc]

    def __eqhash__(self) -> Any:
        # Pools are shared by equal connections; one of an app that was not installed is not equal to ours.
        plain = super().__eqhash__()  # type: ignore[misc]
        return type(plain)("executions", *plain)


#: Older releases pool plain connections.
_Base: Any = getattr(connection, "PooledConnection", connection.Connection)


class _Pooled(_OurTransport, _Base):
    """A connection of a pool."""


class _Pool(connection.ConnectionPool):
    """A pool of such connections."""

    def new(self) -> Any:
        info = self.connection._info(resolve=False)
        first = (self,) if _Base is not connection.Connection else ()
        return _Pooled(*first, **dict(info))


class BrokerConnection(_OurTransport, connection.Connection):
    """A connection of an installed app."""

    site: Site | None = None

    @classmethod
    def of(cls, site: Site) -> type[BrokerConnection]:
        """Give the connections of one app: what is consumed over them is held for its worker."""
        return type(cls.__name__, (cls,), {"site": site})

    def Pool(self, limit: int | None = None, **options: Any) -> Any:
        return _Pool(self, limit, **options)
