"""What the pruner asks of the registry: what is old, what lost its record, what still points at nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from executions.payloads import REFERENCE
from executions.query import Plan, Query, make_plan
from executions.registry import scripts
from executions.registry.connection import RedisClient, translated
from executions.registry.indexes import CHUNK, EXISTING, Budget, has_bit
from executions.registry.keys import ShardKeys
from executions.registry.rounds import Steps, batches, by_name, hget, hmget, hscan, run, zcount, zrange
from executions.registry.rows import read_fields, read_ids, text
from executions.registry.selection import first_number, open_selection
from executions.registry.space import Space
from executions.registry.values import number_of

#: Scripts that one pipeline runs: each takes the server some tens of microseconds.
_SCRIPTS_AT_ONCE = 100

#: Logs of attempts that go with one execution; those of still earlier attempts end by their own time to live.
_LOGS_AT_MOST = 1000

#: Fields of an index that one step of a sweep looks at.
_SWEPT_AT_ONCE = 500

#: Chunks of existing numbers that are read at once to find some of them.
_WINDOW = 16

#: Chunks that are looked through for the oldest execution.
_CHUNKS_AT_ONCE = 4096

_UNBOUNDED = 1 << 60


@dataclass(frozen=True)
class Old:
    """An execution to forget; without an id where even that is lost."""

    number: int
    id: str = ""
    attempts: int = 1


@dataclass(frozen=True)
class Pruned:
    """How many executions were forgotten, and how many had lost their record before."""

    forgotten: int
    missing: int


class Pruning:
    """The pruner's questions and deeds, each for one shard and bounded."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._everything: Plan = make_plan(Query(), 0)

    @translated
    def old(self, shards: Sequence[ShardKeys], before_us: int, limit: int) -> list[list[Old]]:
        """Give what ended before a time, the oldest first, up to a limit for each shard."""
        return run(self._client, [_read_old(keys, before_us, limit) for keys in shards])

    @translated
    def count_old(self, before_us: int) -> int:
        """Count what ended before a time."""
        shards = self._space.all_keys()
        return sum(run(self._client, [_count_old(keys, before_us) for keys in shards]))

    @translated
    def lost(self, keys: ShardKeys, after: int, limit: int) -> tuple[list[Old], int | None]:
        """Look at some numbers after one: which have no record? Give them and where to go on, `None` at the end."""
        ((found, last),) = run(self._client, [self._read_lost(keys, after, limit)])
        return found, last

    @translated
    def references(self, keys: ShardKeys, after: int, limit: int) -> tuple[list[str], int | None]:
        """Give what some records after a number refer to in the payload store, and where to go on."""
        ((found, last),) = run(self._client, [self._read_references(keys, after, limit)])
        return found, last

    @translated
    def prune(self, keys: ShardKeys, olds: Sequence[Old], before_us: int | None = None) -> Pruned:
        """Forget executions; one that was rerun meanwhile, or ended later than a time, stays."""
        replies: list[bytes] = []
        before = "" if before_us is None else before_us
        for piece in batches(olds, _SCRIPTS_AT_ONCE):
            calls = [(_keys_of(keys, old), (old.id, old.number, before)) for old in piece]
            replies += [reply[0] for reply in scripts.PRUNE.many(self._client, calls)]
        return Pruned(replies.count(b"ok"), replies.count(b"missing"))

    @translated
    def sweep(self, keys: ShardKeys, cursor: int) -> tuple[int, int]:
        """Clear what some fields of the index say of numbers that no longer exist.

        Gives the cursor of the next step, zero after the last, and how many bits were cleared.
        """
        ((after, stale),) = run(self._client, [_read_stale(keys, cursor)])
        cleared = 0
        for piece in batches(stale, _SCRIPTS_AT_ONCE):
            cleared += int(scripts.SWEEP(self._client, keys.of_transition("", 1), tuple(piece)))
        return after, cleared

    @translated
    def sweep_values(self, keys: ShardKeys, cursor: int) -> tuple[int, int]:
        """Remove some values of numbers that no longer exist; gives what `sweep` gives."""
        ((after, cleared),) = run(self._client, [_sweep_values(keys, cursor)])
        return after, cleared

    @translated
    def trim_marks(self, keys: ShardKeys) -> None:
        """Remove the marks below which nothing exists any more."""
        run(self._client, [_trim_marks(keys)])

    @property
    def _client(self) -> RedisClient:
        return self._space.client

    def _read_numbers(self, keys: ShardKeys, after: int, limit: int) -> Steps[tuple[list[int], int | None]]:
        """Give the next existing numbers after one, and where to go on: `None` at the end."""
        selection = yield from open_selection(keys, self._everything, self._space.shard, Budget(_UNBOUNDED))
        numbers: list[int] = []
        chunk, last = max(selection.matches.first, (after + 1) // CHUNK), selection.matches.last
        while chunk <= last and len(numbers) < limit:
            window = range(chunk, min(last, chunk + _WINDOW - 1) + 1)
            yield from selection.matches.load(window)
            numbers = [number for number in selection.matches.numbers() if number > after]
            chunk = window[-1] + 1
        is_end = chunk > last and len(numbers) <= limit
        numbers = numbers[:limit]
        return numbers, None if is_end else numbers[-1]

    def _read_lost(self, keys: ShardKeys, after: int, limit: int) -> Steps[tuple[list[Old], int | None]]:
        numbers, last = yield from self._read_numbers(keys, after, limit)
        found = yield from read_fields(keys, numbers, ("no",))
        known = yield from read_ids(keys, [number for number in numbers if number not in found])
        return [Old(number, known.get(number, "")) for number in numbers if number not in found], last

    def _read_references(self, keys: ShardKeys, after: int, limit: int) -> Steps[tuple[list[str], int | None]]:
        numbers, last = yield from self._read_numbers(keys, after, limit)
        found = yield from read_fields(keys, numbers, ("no", "pay", "or"))
        values = [raw.get(code, "") for _, raw in found.values() for code in ("pay", "or")]
        return [value for value in values if value.startswith(REFERENCE)], last


def _keys_of(keys: ShardKeys, old: Old) -> tuple[str, ...]:
    known = keys.of_transition(old.id, max(1, old.attempts))
    if not old.id:
        return known
    earlier = range(max(1, old.attempts - _LOGS_AT_MOST), old.attempts)
    return (*known, *(keys.log(old.id, attempt) for attempt in earlier), keys.metrics(old.id))


def _read_old(keys: ShardKeys, before_us: int, limit: int) -> Steps[list[Old]]:
    (rows,) = yield [zrange(keys.finished, "-inf", str(before_us), 0, limit)]
    numbers = [int(member) for member, _ in rows]
    found = yield from read_fields(keys, numbers, ("no", "at"))
    known = yield from read_ids(keys, [number for number in numbers if number not in found])
    return [
        Old(number, found[number][0], int(found[number][1].get("at", 1)))
        if number in found
        else Old(number, known.get(number, ""))
        for number in numbers
    ]


def _count_old(keys: ShardKeys, before_us: int) -> Steps[int]:
    (count,) = yield [zcount(keys.finished, "-inf", str(before_us))]
    return int(count)


def _read_stale(keys: ShardKeys, cursor: int) -> Steps[tuple[int, list[str]]]:
    """Give the fields among some that have bits of numbers that do not exist."""
    ((after, fields),) = yield [hscan(keys.index, cursor, _SWEPT_AT_ONCE)]
    names = {text(field): bitmap for field, bitmap in fields.items()}
    chunks = sorted({name.rpartition("/")[2] for name in names})
    existing: dict[str, Any] = {}
    for piece in batches(chunks, _SWEPT_AT_ONCE):
        (replies,) = yield [hmget(keys.index, [f"{EXISTING}/{chunk}" for chunk in piece])]
        existing.update(zip(piece, replies, strict=True))
    stale = [
        name
        for name, bitmap in names.items()
        if int.from_bytes(bitmap, "little") & ~int.from_bytes(existing[name.rpartition("/")[2]] or b"", "little")
    ]
    return after, stale


def _sweep_values(keys: ShardKeys, cursor: int) -> Steps[tuple[int, int]]:
    ((after, members),) = yield [by_name("zscan", keys.values, cursor, None, _SWEPT_AT_ONCE)]
    numbers = {member: number_of(member) for member, _ in members}
    chunks = sorted({number // CHUNK for number in numbers.values()})
    existing: dict[int, bytes | None] = {}
    for piece in batches(chunks, _SWEPT_AT_ONCE):
        (replies,) = yield [hmget(keys.index, [f"{EXISTING}/{chunk}" for chunk in piece])]
        existing.update(zip(piece, replies, strict=True))
    # A number is never given again, so what does not exist will not.
    stale = [member for member, number in numbers.items() if not has_bit(existing[number // CHUNK], number)]
    if stale:
        yield [by_name("zrem", keys.values, *stale)]
    return int(after), len(stale)


def _trim_marks(keys: ShardKeys) -> Steps[None]:
    # The newest mark is read before the bitmaps: what is submitted later sets marks after it.
    number, oldest, newest = yield [
        hget(keys.meta, "number"),
        zrange(keys.marks, "-inf", "+inf", 0, 1),
        zrange(keys.marks, "-inf", "+inf", 0, 1, descending=True),
    ]
    if not oldest:
        return
    top = int(number or 0)
    first = first_number(int(oldest[0][0]), top) // CHUNK
    chunks = range(first, min(top // CHUNK, first + _CHUNKS_AT_ONCE - 1) + 1)
    (bitmaps,) = yield [hmget(keys.index, [f"{EXISTING}/{chunk}" for chunk in chunks])]
    empty = next((at for at, bitmap in enumerate(bitmaps) if bitmap), len(bitmaps))
    chunk = first + empty
    if chunk > top // CHUNK:
        yield [by_name("zremrangebyscore", keys.marks, "-inf", f"{newest[0][1]:.0f}")]
        return
    (score,) = yield [by_name("zscore", keys.marks, chunk * CHUNK)]
    if score is not None:
        yield [by_name("zremrangebyscore", keys.marks, "-inf", f"({score:.0f}")]
