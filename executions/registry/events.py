"""What happened to all executions, in the order in which it did: read on from a cursor, followed by push.

Every new entry of a status log is also one entry of its shard's stream, written by the same step. A stream keeps
the newest ten thousand or so. Whoever reads on names the last entry that was read: if that is still there, nothing
after it can have been trimmed; if it is not, that is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from executions.clock import to_datetime
from executions.errors import InvalidQuery
from executions.query import Query, parse
from executions.query.meaning import fields_of, matches
from executions.query.tree import Range
from executions.registry.connection import RedisClient, translated
from executions.registry.space import Space
from executions.states import Reason, Status

#: What events can be filtered by: what an event says of itself.
FIELDS = ("status", "reason", "function", "service", "id")

#: The reason of the one entry that is no event: it says that events are missing.
TRIMMED = "trimmed"

#: `since` for what happens from now on.
NOW = "now"

#: Before the first entry of a stream.
_START = (0, 0)

#: Entries of one shard that are read in one go.
_PIECE = 500

#: How long one read waits for something to happen, and after how long without an answer its connection is dead.
_BLOCK_MS = 5000
_SOCKET_TIMEOUT_S = 15.0

#: A place in a stream: milliseconds, and a number within them.
_Place = tuple[int, int]


@dataclass(frozen=True)
class _Event:
    """An event as a query sees it; one that asks for more than this has been refused."""

    said: Mapping[str, Any]

    def values(self, field: str) -> tuple[str, ...]:
        return (self.said[field],) if self.said[field] else ()

    def is_one_of(self, field: str, values: tuple[str, ...]) -> bool:
        return self.said[field] in values

    def within(self, item: Range) -> bool:
        return False

    def texts(self) -> tuple[str, ...]:
        return ()


class EventFeed(Iterator[dict[str, Any]]):
    """Events, one after the other. `cursor` is where it is, also while nothing matches."""

    def __init__(self, space: Space, query: Query, places: Sequence[_Place], follow: bool) -> None:
        self._space = space
        self._query = query
        self._places = list(places)
        self._found = self._read_on(follow)

    @property
    def cursor(self) -> str:
        """The place after the last event that was looked at, for `since`."""
        return ",".join(_written(place) for place in self._places)

    def __next__(self) -> dict[str, Any]:
        return next(self._found)

    def close(self) -> None:
        """Let go of the connection; what is iterated to its end does so by itself."""
        self._found.close()

    def _read_on(self, follow: bool) -> Any:
        # A connection of its own: a read that blocks would hold one of the process's pool.
        own = self._space.own_client(socket_timeout_s=_SOCKET_TIMEOUT_S) if follow else None
        client = own or self._space.client
        try:
            while True:
                pieces = self._read(client)
                for shard, piece in enumerate(pieces):
                    if self._places[shard] != _START and self._places[shard] not in [place for place, _ in piece[:1]]:
                        yield self._gap(shard, piece)
                entries = self._in_order(pieces)
                for shard, place, event in entries:
                    self._places[shard] = place
                    if self._wants(event):
                        yield {**event, "cursor": self.cursor}
                if not entries and own is None:
                    return
                if not entries:
                    self._wait(own)
        finally:
            if own is not None:
                own.close()

    def _wants(self, event: dict[str, Any]) -> bool:
        return matches(self._query.root, _Event(event))

    @translated
    def _read(self, client: RedisClient) -> list[list[tuple[_Place, dict[bytes, bytes]]]]:
        """Read a piece of each stream: first the entry that was read last, where it is still there."""
        pipeline = client.pipeline(transaction=False)
        for keys, place in zip(self._space.all_keys(), self._places, strict=True):
            pipeline.xrange(keys.events, min=_written(place), count=_PIECE)
        return [[(_place(name), fields) for name, fields in found] for found in pipeline.execute()]

    def _in_order(self, pieces: list[list[tuple[_Place, Any]]]) -> list[tuple[int, _Place, dict[str, Any]]]:
        """Merge the pieces, up to where every one of them reaches."""
        reach = min((piece[-1][0] for piece in pieces if len(piece) == _PIECE), default=None)
        new = [
            (place, shard, fields)
            for shard, piece in enumerate(pieces)
            for place, fields in piece
            if place > self._places[shard] and (reach is None or place <= reach)
        ]
        new.sort(key=lambda entry: entry[:2])
        return [(shard, place, _event(place, fields)) for place, shard, fields in new]

    def _gap(self, shard: int, piece: list[tuple[_Place, Any]]) -> dict[str, Any]:
        since, oldest = self._places[shard], piece[0][0] if piece else None
        # What is said once is not said again.
        self._places[shard] = _START
        until = _time(oldest).isoformat() if oldest else "now"
        return {
            "id": None, "status": None, "reason": TRIMMED, "function": None, "service": None,
            "message": f"events from {_time(since).isoformat()} to {until} may be missing: they are kept no longer",
            "timestamp": _time(since), "attempt": None, "cursor": self.cursor,
        }  # fmt: skip

    @translated
    def _wait(self, client: RedisClient) -> None:
        streams = {
            keys.events: _written(place) for keys, place in zip(self._space.all_keys(), self._places, strict=True)
        }
        while not client.xread(streams, count=1, block=_BLOCK_MS):
            continue


def feed(space: Space, query: str | None, *, follow: bool, since: str | None) -> EventFeed:
    """Open a feed; what cannot be used is refused at once."""
    parsed = parse(query)
    odd = sorted(fields_of(parsed.root) - set(FIELDS))
    if odd:
        raise InvalidQuery(f"events cannot be filtered by {odd[0]}, only by {', '.join(FIELDS)}")
    return EventFeed(space, parsed, _places(space, since), follow)


def _places(space: Space, since: str | None) -> list[_Place]:
    if since is None:
        return [_START] * space.shards
    if since == NOW:
        return _newest(space)
    if re.fullmatch(r"\d{1,19}-\d{1,19}(,\d{1,19}-\d{1,19})*", since) is None:
        raise InvalidQuery(f"not a cursor of events: {since[:100]!r}")
    places = [_place(text.encode()) for text in since.split(",")]
    if len(places) != space.shards:
        raise InvalidQuery("this cursor belongs to events of another registry")
    return places


@translated
def _newest(space: Space) -> list[_Place]:
    pipeline = space.client.pipeline(transaction=False)
    for keys in space.all_keys():
        pipeline.xrevrange(keys.events, count=1)
    return [_place(found[0][0]) if found else _START for found in pipeline.execute()]


def _event(place: _Place, fields: dict[bytes, bytes]) -> dict[str, Any]:
    text = {name.decode(): value.decode(errors="replace") for name, value in fields.items()}
    return {
        "id": text["i"], "status": Status(text["s"]), "reason": Reason(text["r"]), "function": text.get("f", ""),
        "service": text.get("v") or None, "message": text.get("m", ""), "timestamp": _time(place),
        "attempt": int(text["a"]),
    }  # fmt: skip


def _time(place: _Place) -> Any:
    return to_datetime(place[0] * 1000)


def _place(name: bytes) -> _Place:
    milliseconds, number = name.split(b"-")
    return int(milliseconds), int(number)


def _written(place: _Place) -> str:
    return f"{place[0]}-{place[1]}"
