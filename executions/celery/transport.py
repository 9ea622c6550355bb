"""kombu's Redis transport with one client for each channel, instead of a new one for each message.

kombu makes a `redis.Redis` for every publish, every delivery and every acknowledgement: 70 to 80 microseconds
each, a quarter of what a submit costs. A client has no state but its pool, so one serves them all.

Where the registry is the broker's server, the row and the message go there together: the script first, then the
push, in one round trip. The order is the same as with two, and so is what a failure between them leaves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from kombu import connection
from kombu.transport import redis

from executions.registry.scripts import SUBMIT


@dataclass
class Rider:
    """The row that goes with the next message."""

    keys: tuple[str, ...]
    args: tuple[Any, ...]
    #: What the script answered; nothing until the message has been sent.
    reply: Any = None


#: Set around the sending of a message whose row is still to be written.
riding: ContextVar[Rider | None] = ContextVar("executions_rider", default=None)


@dataclass
class _Carrying:
    """Stands in for a channel's client while it pushes one message, and writes the row first."""

    client: Any
    rider: Rider

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def lpush(self, key: Any, message: Any) -> Any:
        rider = self.rider
        rider.reply, pushed = SUBMIT.before(
            self.client, rider.keys, rider.args, lambda pipeline: pipeline.lpush(key, message)
        )
        return pushed


class Channel(redis.Channel):
    """A channel that makes its client once for each pool."""

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
            yield found if self._carried is None else _Carrying(found, self._carried)


class Transport(redis.Transport):
    """The same transport, made of such channels."""

    Channel = Channel


class _OurTransport:
    """Takes our transport for kombu's; URLs, and every other transport, stay as they are."""

    def get_transport_cls(self) -> Any:
        found = super().get_transport_cls()  # type: ignore[misc]
        return Transport if found is redis.Transport else found

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

    def Pool(self, limit: int | None = None, **options: Any) -> Any:
        return _Pool(self, limit, **options)
