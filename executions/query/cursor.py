"""The order of a list, and the place in it where the next page begins.

A cursor holds a place for every shard, the time of the first page (so that `-24h` means the same on every
page) and a mark of the query and the order it belongs to. It is opaque, not secret.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from dataclasses import dataclass

import msgspec

from executions.errors import InvalidQuery
from executions.query.fields import find_field, suggest
from executions.query.tree import Query

#: What a list can be sorted by.
SORTS = ("created", "started", "finished", "duration")

#: Longest cursor that is looked at: 4096 shards with a full place each need less.
MAX_CURSOR = 400_000

#: Larger than any score or number; also what a double still holds exactly.
_LIMIT = 1 << 62


@dataclass(frozen=True)
class Sort:
    """A field to sort by; executions that have no such value come last, both ways."""

    field: str
    descending: bool

    def __str__(self) -> str:
        return f"-{self.field}" if self.descending else self.field


@dataclass(frozen=True)
class Place:
    """Where a shard's list goes on: after this number, and for sorts by a score after this score.

    No number: from the beginning. A number without a score: among those that have no value. `top` is the
    shard's newest number when the first page was read.
    """

    top: int
    number: int | None = None
    score: int | None = None


@dataclass(frozen=True)
class Cursor:
    """Where the next page begins."""

    places: tuple[Place, ...]
    now_us: int


class _Wire(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    mark: int
    now_us: int
    places: list[tuple[int, int | None, int | None]]


def parse_sort(text: str) -> Sort:
    """Read `created`, `-created` and so on."""
    word = text.strip()
    name = word.lstrip("+-") if word[:1] in ("+", "-") and len(word) > 1 else word
    field = find_field(name)
    if field is None or field.name not in SORTS or len(word) - len(name) > 1:
        raise InvalidQuery(
            f"cannot sort by {text!r}{suggest(name, list(SORTS))}; sort by {', '.join(SORTS)}, "
            "or the same with - in front for the largest first"
        )
    return Sort(field.name, word.startswith("-"))


def encode_cursor(cursor: Cursor, query: Query, sort: Sort) -> str:
    """Write a cursor."""
    places = [(place.top, place.number, place.score) for place in cursor.places]
    wire = msgspec.json.encode(_Wire(_mark(query, sort), cursor.now_us, places))
    return base64.urlsafe_b64encode(wire).decode().rstrip("=")


def decode_cursor(text: str, query: Query, sort: Sort, shards: int) -> Cursor:
    """Read a cursor; raises `InvalidQuery` for one of another query or order, or for none at all."""
    wire = _read(text)
    if wire.mark != _mark(query, sort):
        raise InvalidQuery("this cursor belongs to another query or another order; begin again without a cursor")
    numbers = [wire.now_us, *(part for place in wire.places for part in place if part is not None)]
    if len(wire.places) != shards or any(abs(number) >= _LIMIT for number in numbers):
        raise InvalidQuery("this cursor does not fit this registry; begin again without a cursor")
    return Cursor(tuple(Place(*place) for place in wire.places), wire.now_us)


def _read(text: str) -> _Wire:
    try:
        if len(text) > MAX_CURSOR:
            raise ValueError("too long")
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(raw, type=_Wire)
    except (ValueError, binascii.Error, msgspec.MsgspecError, RecursionError):
        raise InvalidQuery("this is not a cursor that was handed out; begin again without a cursor") from None


def _mark(query: Query, sort: Sort) -> int:
    return zlib.crc32(f"{sort}\n{query.key}".encode())
