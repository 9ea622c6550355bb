"""One page: every shard's walk, merged by the sort's key."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from executions.clock import to_us
from executions.execution import Execution
from executions.query.cursor import Place, Sort
from executions.registry.connection import RedisClient
from executions.registry.records import SUMMARY_FIELDS
from executions.registry.rounds import Steps, run
from executions.registry.rows import accepts, read_fields, read_matching, summary
from executions.registry.selection import Selection
from executions.registry.walks import Candidate, NumberWalk, SortedWalk, not_before

#: Reading one record costs as much as reading so many bitmap chunks.
_RECORD_WORK = 10

#: What is compared to merge the shards: those without a value last, then the sort's key, then the number.
Key = tuple[bool, int, int]


@dataclass(frozen=True)
class Row:
    """An execution, and its place in its shard's list."""

    execution: Execution
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
    rows: deque[Row] = field(default_factory=deque)

    @property
    def is_hungry(self) -> bool:
        """Whether it has to read on before the next row of the page can be chosen."""
        return not self.rows and not self.walk.is_done and not self.selection.budget.is_spent

    @property
    def is_done(self) -> bool:
        return not self.rows and self.walk.is_done

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
        return row

    def _read(self, candidates: Sequence[Candidate]) -> Steps[list[Row]]:
        plan, keys = self.selection.plan, self.selection.keys
        numbers = [number for number, _ in candidates]
        self.selection.budget.spend(len(numbers) * _RECORD_WORK)
        if plan.unindexed:
            # Many may fall through: look at the deciding parts of the records first.
            numbers = yield from read_matching(plan, keys, numbers)
        found = yield from read_fields(keys, numbers, SUMMARY_FIELDS)
        rows = []
        for number, score in candidates:
            if number in found and accepts(plan, *found[number]):
                execution_id, raw = found[number]
                execution = summary(execution_id, raw, keys.shard, self.shards)
                place = Place(self.walk.place.top, number, score)
                rows.append(Row(execution, self._key(execution, score), place))
        return rows

    def _key(self, execution: Execution, score: int | None) -> Key:
        lacks = score is None and self.sort.field != "created"
        value = score if score is not None else to_us(execution.created) if execution.created else 0
        sign = -1 if self.sort.descending else 1
        return lacks, sign * value, sign * execution.number


def merge(client: RedisClient, lanes: Sequence[Lane], limit: int) -> tuple[list[Execution], list[Place] | None]:
    """Take up to `limit` executions in order; give the places of the next page, where there may be one."""
    rows: list[Row] = []
    want = _share(lanes, limit)
    while True:
        run(client, [lane.refill(want) for lane in lanes if lane.is_hungry])
        # Where a budget is spent, what the others hold might belong after what was not read.
        is_cut = any(not lane.rows and not lane.is_done for lane in lanes)
        full = [lane for lane in lanes if lane.rows]
        if is_cut or len(rows) == limit or not full:
            more = is_cut or bool(full)
            return [row.execution for row in rows], _places(lanes, rows) if more else None
        rows.append(min(full, key=lambda lane: lane.rows[0].key).give())


def _places(lanes: Sequence[Lane], rows: Sequence[Row]) -> list[Place]:
    places = [lane.next_place for lane in lanes]
    if not rows:
        return places
    return [not_before(place, rows[-1].place, lane.sort) for place, lane in zip(places, lanes, strict=True)]


def _share(lanes: Sequence[Lane], limit: int) -> int:
    """Give how many rows to read of each shard at once: more than its share, as shares are never even."""
    if any(lane.selection.plan.unindexed for lane in lanes):
        return max(limit, 200)
    return limit + 1 if len(lanes) == 1 else min(limit + 1, 2 * limit // len(lanes) + 4)
