"""Messages that workers hold: popped by moving, so that at any moment they are in a list that somebody owns.

All of it is in the broker's database, which need not be the registry's. A *holder* is one consuming channel of
one worker process, `<process>.<number>`; a *source* is the list of one queue and priority.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

import redis

from executions.registry import keys, scripts

#: Messages that one call gives back.
GIVEN_BACK_AT_ONCE = 500

#: Entries of the list of holders that one look reads, those longest out of touch.
HOLDERS_READ = 10_000

#: Messages of one holder that a look at what is held reads.
MESSAGES_READ = 1000

#: Seconds that one command of a consumer may take; the server does each of them in microseconds.
PATIENCE_S = 10.0

#: Replies that may be left unread: far fewer than a socket has room for.
UNREAD_AT_MOST = 100

#: Later than any time, in seconds.
_FOR_GOOD = 1 << 40


@dataclass(frozen=True)
class Holding:
    """Somebody holds, or held, messages of a source."""

    holder: str
    source: str
    #: Server's time of the last fetch, in seconds.
    touched: float

    @property
    def process(self) -> str:
        """The worker process that the holder is part of."""
        return self.holder.partition(".")[0]


class Held:
    """What is held under one namespace, seen through a client of the broker."""

    def __init__(self, client: Any, namespace: str, prefix: str = "") -> None:
        self._client = client
        self._namespace = namespace
        #: In front of every key that the broker's other users see as well.
        self._prefix = prefix

    def _list(self, holder: str, source: str) -> str:
        return self._prefix + keys.held(self._namespace, holder, source)

    @property
    def _holders(self) -> str:
        return self._prefix + keys.holders(self._namespace)

    def waiting(self, holder: str, source: str, timeout_s: int) -> tuple[Any, ...]:
        """Give the command that waits for one message and moves it."""
        return ("BLMOVE", self._prefix + source, self._list(holder, source), "RIGHT", "LEFT", timeout_s)

    def fetch(self, holder: str, sources: Sequence[str], room: int, turn: int) -> list[tuple[str, bytes]]:
        """Move up to `room` messages of the sources, which are in the order of priority, `turn` of each."""
        lists = [one for source in sources for one in (self._prefix + source, self._list(holder, source))]
        entries = [f"{holder}:{source}" for source in sources]
        found = scripts.FETCH(self._client, (self._holders, *lists), (room, turn, *entries))
        return [(sources[found[at] - 1], found[at + 1]) for at in range(0, len(found), 2)]

    def forgetting(self, holder: str, source: str, message: bytes) -> tuple[Any, ...]:
        """Give the command that forgets a message. Most are dealt with in the order in which they came."""
        return ("LREM", self._list(holder, source), -1, message)

    def requeue(self, holder: str, source: str, message: bytes, again: bytes, *, next_: bool) -> bool:
        """Put a message back, to be taken next or after all others; nothing happens where it is held no more."""
        lists = (self._list(holder, source), self._prefix + source)
        return bool(scripts.REQUEUE(self._client, lists, (message, again, "RIGHT" if next_ else "LEFT")))

    def give_back(self, holder: str, source: str, forget_before: float = _FOR_GOOD) -> int:
        """Move all that is held of a source back, and forget the holder if it is that old; tell how many."""
        moved = 0
        while True:
            done = scripts.GIVE_BACK(
                self._client,
                (self._holders, self._list(holder, source), self._prefix + source),
                (f"{holder}:{source}", GIVEN_BACK_AT_ONCE, forget_before),
            )
            moved += done
            if done < GIVEN_BACK_AT_ONCE:
                return moved

    def messages(self) -> list[bytes]:
        """Give what is held: of each holder and source the oldest ones, which is all but in odd cases."""
        _, listed = self.holders()
        pipeline = self._client.pipeline(transaction=False)
        for one in listed:
            pipeline.lrange(self._list(one.holder, one.source), -MESSAGES_READ, -1)
        return [message for found in pipeline.execute() for message in found]

    def holders(self) -> tuple[float, list[Holding]]:
        """List who may hold something, with the server's time."""
        seconds, micros = self._client.time()
        found = self._client.zrange(self._holders, 0, HOLDERS_READ - 1, withscores=True)
        split = [(entry.decode().partition(":"), touched) for entry, touched in found]
        return seconds + micros / 1_000_000, [Holding(one[0], one[2], touched) for one, touched in split]


class OneTry:
    """A client on one connection, which sends each command once.

    The driver's own client may send a command again whose reply was lost. A move that is done twice leaves a
    message that nobody knows of; here the error goes up, the channel ends, and all that it held goes back.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._lock = Lock()
        self._ended = False
        #: Replies to what was only sent, which come before all others.
        self._unread = 0

    def do(self, *command: Any) -> Any:
        """Send one command and give its reply; after an error of the connection there is no further one."""
        with self._lock:
            self._send(command)
            self._read_all()
            return self._read()

    def send(self, *command: Any) -> None:
        """Send one command and go on. `settle`, or the next command, raises what became of it."""
        with self._lock:
            self._send(command)
            self._unread += 1
            if self._unread >= UNREAD_AT_MOST:
                self._read_all()

    def settle(self) -> None:
        """Wait for the replies to what was only sent."""
        with self._lock:
            self._read_all()

    def _send(self, command: tuple[Any, ...]) -> None:
        if self._ended:
            raise redis.ConnectionError("this connection to the broker has ended")
        with self._ending():
            # No check of the connection first: that would be a command and a reply of its own.
            self._connection.send_command(*command, check_health=False)

    def _read(self) -> Any:
        with self._ending():
            return self._connection.read_response()

    def _read_all(self) -> None:
        while self._unread:
            self._unread -= 1
            try:
                self._read()
            except redis.ResponseError as error:
                # Nobody is there any more who could deal with it, and no reply may be taken for another's.
                self.close()
                raise redis.ConnectionError(f"the broker refused what was sent: {error}") from error

    @contextmanager
    def _ending(self) -> Iterator[None]:
        try:
            yield
        except redis.ResponseError:
            raise
        except BaseException:
            self.close()
            raise

    def evalsha(self, sha: str, *rest: Any) -> Any:
        return self.do("EVALSHA", sha, *rest)

    def eval(self, text: str, *rest: Any) -> Any:
        return self.do("EVAL", text, *rest)

    def close(self) -> None:
        """End the connection."""
        self._ended = True
        self._connection.disconnect()


def connection_like(pool: Any) -> Any:
    """Make a connection as a pool would, that the pool does not count and that does not wait for ever."""
    options = dict(pool.connection_kwargs)
    options["socket_timeout"] = min(options.get("socket_timeout") or PATIENCE_S, PATIENCE_S)
    if "socket_connect_timeout" in options:
        options["socket_connect_timeout"] = min(options["socket_connect_timeout"] or PATIENCE_S, PATIENCE_S)
    return pool.connection_class(**options)


def client_on(pool: Any) -> Any:
    """Make a plain client on a pool: kombu's own may put a prefix before some keys and not before others."""
    return redis.Redis(connection_pool=pool)
