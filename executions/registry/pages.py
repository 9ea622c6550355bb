"""One page: every shard's walk, merged by the sort's key."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from executions.execution import Execution
from executions.query.cursor import Place, Sort
from executions.query.meaning import fields_of
from executions.registry.connection import RedisClient
from executions.registry.records import SUMMARY_FIELDS
from executions.registry.rounds import Steps, run
from executions.registry.rows import (
    RECORD_WORK,
    WORD_WORK,
    accepts,
    read_fields,
    read_matching,
    read_records,
    summary,
)
from executions.registry.selection import Selection
from executions.registry.subjects import Raw, codes_of
from executions.registry.walks import Candidate, NumberWalk, SortedWalk, not_before

#: Rows that are read of each shard beyond its even share of a page.
_MARGIN = 4

#: Candidates that are looked at, over all shards, where only the records tell which of them match.
_CHECKED_AT_ONCE = 200

#: What is compared to merge the shards: those without a value last, then the sort's key, then the shard.
Key = tuple[bool, int, int]


@dataclass(frozen=True)
class Row:
    """An execution that belongs on the page, as far as it was read, and its place in its shard's list."""

    number: int
    id: str
    raw: Raw
    key: Key
    place: Place


@dataclass
class Lane:
    """One shard's part of a page."""

    selection: Selection
    walk: NumberWalk | SortedWalk
    sort: Sort
    shards: int
    #: The place after the last row that was given out.
    place: Place
    #: Parts of the records that are shown besides those that every list shows.
    also: Sequence[str] = ()
    rows: deque[Row] = field(default_factory=deque)
    given: list[Row] = field(default_factory=list)

    @property
    def is_hungry(self) -> bool:
        """Whether it has to read on before the next row of the page can be chosen."""
        return not self.rows and not self.walk.is_done and not self.selection.budget.is_spent

    @property
    def is_done(self) -> bool:
        return not self.rows and self.walk.is_done

    @property
    def turn(self) -> int:
        """When its rows come among those of other shards with an equal value."""
        shard = self.selection.keys.shard
        return -shard if self.sort.descending else shard

    @property
    def next_place(self) -> Place:
        """Where the next page begins: after the last row given out, or after all that was looked at."""
        return self.place if self.rows else self.walk.place

    def refill(self, want: int) -> Steps[None]:
        while self.is_hungry:
            candidates = yield from self.walk.take(want)
            self.rows.extend((yield from self._read(candidates)))

    def give(self) -> Row:
        row = self.rows.popleft()
        self.place = row.place
        self.given.append(row)
        return row

    def pictures(self) -> Steps[dict[str, Execution]]:
        """Give the executions of the rows that were given out, by id."""
        keys = self.selection.keys
        found = {row.number: (row.id, row.raw) for row in self.given}
        if self.shards > 1:
            known = {row.number: row.id for row in self.given}
            found = dict((yield from read_records(keys, known, (*SUMMARY_FIELDS, *self.also))))
        return {one: summary(one, raw, keys.shard, self.shards, self.also) for one, raw in found.values()}

    @property
    def _codes(self) -> Sequence[str]:
        """What is read of a candidate: all that is shown, or with many shards just what decides."""
        deciding = codes_of({"created", *fields_of(self.selection.plan.query.root)})
        return tuple(dict.fromkeys((*SUMMARY_FIELDS, *self.also, *deciding))) if self.shards == 1 else deciding

    def _read(self, candidates: Sequence[Candidate]) -> Steps[list[Row]]:
        plan, keys = self.selection.plan, self.selection.keys
        numbers = [number for number, _ in candidates]
        self.selection.budget.spend(len(numbers) * RECORD_WORK * (WORD_WORK if plan.has_words else 1))
        if not self.selection.is_exact:
            self.selection.scanned += len(numbers)
            if self.shards == 1:
                # Many may fall through: look at the deciding parts of the records first.
                numbers = yield from read_matching(plan, keys, numbers)
        found = yield from read_fields(keys, numbers, self._codes)
        rows = []
        for number, score in candidates:
            if number in found and accepts(plan, *found[number]):
                place = Place(self.walk.place.top, number, score)
                rows.append(Row(number, *found[number], self._key(found[number][1], score), place))
        return rows

    def _key(self, raw: Raw, score: int | None) -> Key:
        lacks = score is None and self.sort.field != "created"
        value = int(raw["cr"]) if score is None else score
        return lacks, -value if self.sort.descending else value, self.turn


@dataclass(frozen=True)
class Merged:
    """What a page holds, the places of the next one where there may be one, and whether it was cut short."""

    items: list[Execution]
    places: list[Place] | None
    is_cut: bool


def merge(client: RedisClient, lanes: Sequence[Lane], limit: int) -> Merged:
    """Take up to `limit` executions in order."""
    rows: list[Row] = []
    want = _share(lanes, limit)
    while True:
        run(client, [lane.refill(want) for lane in lanes if lane.is_hungry])
        # Where a budget is spent, what the others hold might belong after what was not read.
        is_cut = any(not lane.rows and not lane.is_done for lane in lanes)
        full = [lane for lane in lanes if lane.rows]
        if is_cut or len(rows) == limit or not full:
            more = is_cut or bool(full)
            places = _places(lanes, rows) if more else None
            return Merged(_pictures(client, lanes, rows), places, is_cut and len(rows) < limit)
        rows.append(min(full, key=lambda lane: lane.rows[0].key).give())


def _pictures(client: RedisClient, lanes: Sequence[Lane], rows: Sequence[Row]) -> list[Execution]:
    found: dict[str, Execution] = {}
    for part in run(client, [lane.pictures() for lane in lanes if lane.given]):
        found |= part
    return [found[row.id] for row in rows if row.id in found]


def _places(lanes: Sequence[Lane], rows: Sequence[Row]) -> list[Place]:
    places = [lane.next_place for lane in lanes]
    if not rows:
        return places
    last, turn = rows[-1].place, rows[-1].key[2]
    return [
        not_before(place, last, lane.sort, equals_follow=lane.turn >= turn)
        for place, lane in zip(places, lanes, strict=True)
    ]


def _share(lanes: Sequence[Lane], limit: int) -> int:
    """Give how many rows to read of each shard at once: a little more than its share, as shares are never even."""
    is_exact = all(lane.selection.is_exact for lane in lanes)
    wanted = limit if is_exact else max(limit, _CHECKED_AT_ONCE)
    return limit + 1 if len(lanes) == 1 and wanted == limit else wanted // len(lanes) + _MARGIN
