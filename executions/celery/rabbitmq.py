"""kombu's transport for RabbitMQ, which waits for no answer without end, and tells when the broker has answered.

py-amqp waits for the broker's answer to a call (a declaration, a limit, a goodbye) for as long as it takes, and
Celery's workers make such calls where they consume. An answer that a network swallows would hold them for good, and
with them what watches the heartbeats. Here a call that is not answered in time gives the whole connection up, which
Celery then makes anew.

| what happens | noticed by | after |
|---|---|---|
| silence in a handshake | the time limit of connecting, on gevent too | `ANSWERED_WITHIN_S` |
| silence before the answer to a call | the limit of this module | `ANSWERED_WITHIN_S`, `GOODBYE_S` for a goodbye |
| silence within a frame, or elsewhere | missing heartbeats; half a frame is kept meanwhile | three heartbeats |
| silence between messages on solo, which has no short heartbeats | a question now and then | `ASKED_AFTER_S` more |
| a cut that an acknowledgement is the first to find | the next look at the connection | at once |
| the loop that consumes hangs | the worker's watchdog, see workers/bootsteps/condition.py | 15 s |
"""

from __future__ import annotations

from typing import Any

from amqp.exceptions import RecoverableConnectionError
from amqp.spec import Channel as ChannelMethod
from amqp.spec import Connection as ConnectionMethod
from amqp.transport import SSLTransport, TCPTransport
from celery import Celery
from kombu.transport import pyamqp

from executions.celery.site import Place
from executions.clock import SYSTEM_CLOCK

#: Seconds that the broker has for its answer. A quorum queue that is declared while a node is away needs some of them.
ANSWERED_WITHIN_S = 10.0

#: Seconds for the answer to a goodbye, which nothing depends on.
GOODBYE_S = 2.0

#: Seconds between two heartbeats, unless the app says otherwise: in at most three of them a broker that went silent is
#: noticed. RabbitMQ advises against less.
HEARTBEAT_S = 5.0

#: Seconds between heartbeats up to which frames tell of progress: with fewer a healthy broker may be quiet for longer
#: than a worker may be without progress.
TELLING_HEARTBEAT_S = 10.0

#: Seconds after which a solo worker asks the broker something: heartbeats are not answered while it runs a function.
ASKED_AFTER_S = 5.0

_GOODBYES = frozenset({ChannelMethod.CloseOk, ConnectionMethod.CloseOk})


def use_defaults(app: Celery, pool: str) -> None:
    """Set what a worker over RabbitMQ needs, where its app does not say otherwise."""
    # On solo the loop that runs functions is the one that answers heartbeats.
    if pool == "solo" or app.connection_for_read().get_transport_cls() is not Transport:
        return
    app.add_defaults({"broker_heartbeat": HEARTBEAT_S})
    if pool != "prefork":
        # After a reconnect Celery raises the limit of messages bit by bit, and does so in the thread or greenlet that
        # has just run something: two then read from one socket, and each waits for what the other has got.
        app.add_defaults({"worker_enable_prefetch_count_reduction": False})


def ask(connection: Any) -> None:
    """Have the broker of a worker's connection say something; if it does not, the connection is given up."""
    made = getattr(connection, "_connection", None)
    if isinstance(made, Connection) and made.consumes and made.connected:
        made.is_asked = True
        # The one question that needs no permission and changes nothing.
        made.channel().close()


class _Awaited:
    """A connection or a channel that waits for an answer only so long."""

    connection: Any

    def wait(self, method: Any, callback: Any = None, timeout: float | None = None, returns_tuple: bool = False) -> Any:
        if timeout is not None or isinstance(method, list):  # confirmations have a limit of their own
            return super().wait(method, callback, timeout, returns_tuple)  # type: ignore[misc]
        connection, limit_s = self.connection, GOODBYE_S if method in _GOODBYES else ANSWERED_WITHIN_S
        try:
            return super().wait(method, callback, limit_s, returns_tuple)  # type: ignore[misc]
        except TimeoutError:
            # The answer may still come, and would be taken for another's.
            connection.collect()
            raise RecoverableConnectionError(f"the broker has not answered for {limit_s:.0f} s") from None


class Channel(_Awaited, pyamqp.Channel):
    """A channel."""

    def basic_consume(self, queue: str = "", consumer_tag: str = "", *args: Any, **options: Any) -> Any:
        if not options.get("no_ack"):
            # Not that of remote control, whose messages nobody acknowledges.
            self.connection.consumes = True
        return super().basic_consume(queue, consumer_tag, *args, **options)


class _WholeFrames:
    """A socket whose half frames are kept until the rest is there.

    py-amqp asks the socket again and again for that rest, and its loop does nothing else meanwhile.
    """

    def _read(self, n: int, initial: bool = False, *args: Any) -> Any:
        return super()._read(n, True, *args)  # type: ignore[misc]


class _Plain(_WholeFrames, TCPTransport):
    """A socket."""


class _Secure(_WholeFrames, SSLTransport):
    """A socket with TLS."""


class Connection(_Awaited, pyamqp.Connection):
    """A connection."""

    Channel = Channel
    client: Any = None
    #: Whether this is the one over which a worker gets its messages.
    consumes = False
    #: Whether the worker asks so often that a broker which is well is never quiet for long.
    is_asked = False

    def __init__(self, *args: Any, connect_timeout: float | None = None, **options: Any) -> None:
        # Celery takes the limit away under gevent.
        super().__init__(*args, connect_timeout=connect_timeout or ANSWERED_WITHIN_S, **options)

    def Transport(self, host: str, connect_timeout: Any, ssl: Any = False, *timeouts: Any, **options: Any) -> Any:
        options |= zip(("read_timeout", "write_timeout"), timeouts, strict=False)
        kind = _Secure if ssl else _Plain
        return kind(host, connect_timeout=connect_timeout, ssl=ssl, **options)

    def drain_events(self, timeout: float | None = None) -> None:
        place = self._place
        if place is not None:
            place.turned = SYSTEM_CLOCK.monotonic()
        super().drain_events(timeout)

    def blocking_read(self, timeout: float | None = None) -> Any:
        done = super().blocking_read(timeout)
        place = self._place
        tells = self.is_asked or (self.heartbeat and self.heartbeat <= TELLING_HEARTBEAT_S)
        if place is not None and tells:
            place.progress = SYSTEM_CLOCK.monotonic()
        return done

    @property
    def _place(self) -> Place | None:
        """Give the worker that gets its messages here."""
        site = getattr(self.client, "site", None) if self.consumes else None
        return site.place if site is not None else None


class Transport(pyamqp.Transport):
    """The transport, made of such connections."""

    Connection = Connection
    #: The connection over which a worker gets its messages.
    _consuming: Any = None

    def drain_events(self, connection: Any, **options: Any) -> Any:
        if connection.consumes:
            self._consuming = connection
        elif self._consuming is not None:
            # kombu opens another connection where a write has found one cut, and nobody consumes over that.
            self._consuming.collect()
            raise RecoverableConnectionError("the connection with this consumer is gone")
        return super().drain_events(connection, **options)
