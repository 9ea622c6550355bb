"""A bounded look at what happened in a stretch of time: all of it where it is little, and else a spread sample.

Every step of the window is a stratum: how many lie in it is known from the sorted sets, or from the bitmaps for what
was created; some of its members are drawn evenly, and each stands for as many as were not. Where nothing had to be
left out every weight is one, and what comes out is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from executions.query.meaning import fields_of
from executions.query.plan import Plan, Span
from executions.registry.indexes import CHUNK, Budget, Matches, numbers_in, popcount
from executions.registry.keys import ShardKeys
from executions.registry.rounds import Ask, Steps, by_name, zcount, zrange
from executions.registry.rows import WORD_WORK, accepts, read_fields
from executions.registry.selection import Selection, open_selection
from executions.registry.subjects import Raw, codes_of
from executions.stats import Seen, Window

#: Records that one question reads of what ended; of what was created and of what started a quarter of that each.
RECORDS = 2000

#: Members of a sorted set that are held against the bitmaps, for each record; and bitmap chunks that are read, over all
#: shards.
_MEMBERS = 5
_CHUNKS = 20_000
_LEAST_CHUNKS = 1000

#: What one shard of many, and one step of many, is looked at for at least.
_LEAST_OF_A_SHARD = 200
_LEAST_OF_A_STEP = 5

#: Places of a step, evenly spaced, at which some neighbours are drawn, at least; and places of all steps together, of
#: which one with much in it gets more. Neighbours are alike: what ended together lasted alike.
_PLACES = 4
_PLACES_IN_ALL = 100

_GOLDEN = 0.6180339887

#: Numbers of a step that are drawn where no bitmap is read.
_NEIGHBOURS = 500

_TIMES = ("created", "queued", "started", "finished", "status")


@dataclass(frozen=True)
class Sample:
    """What was seen in one shard, whether that was everything, and the records read for it."""

    seen: tuple[Seen, ...]
    complete: bool
    scanned: int


@dataclass(frozen=True)
class _Stratum:
    """A step in one of the three orders: how many lie in it, those that were drawn, those that may match."""

    size: int
    drawn: int
    numbers: list[int]


class _Drawn:
    """Numbers to be read, with the weights that each has as created, started, finished."""

    def __init__(self) -> None:
        self.weights: dict[int, list[float]] = {}
        self.complete = True

    def add(self, order: int, strata: Sequence[_Stratum], quota: int) -> None:
        """Draw so many out of the strata, in proportion."""
        whole = sum(len(stratum.numbers) for stratum in strata)
        for stratum in strata:
            found = len(stratum.numbers)
            want = found if whole <= quota else min(found, max(_LEAST_OF_A_STEP, quota * found // whole))
            self.complete = self.complete and want == found and stratum.drawn >= stratum.size
            for at in range(want):
                weights = self.weights.setdefault(stratum.numbers[at * found // want], [0.0, 0.0, 0.0])
                weights[order] += stratum.size / stratum.drawn * found / want


def look(
    keys: ShardKeys, plan: Plan, shard_of: Callable[[str], int], window: Window, shards: int, sample: int = RECORDS
) -> Steps[Sample]:
    """Look at what a plan selects in one shard and was created, started or finished in the window."""
    records = max(sample // shards, _LEAST_OF_A_SHARD) // (WORD_WORK if plan.has_words else 1)
    selection = yield from open_selection(keys, plan, shard_of, Budget(max(_CHUNKS // shards, 1)))
    matches = selection.matches
    has_bits = matches.cost <= max(_CHUNKS // shards, _LEAST_CHUNKS)
    drawn = _Drawn()
    if has_bits:
        yield from matches.load_all()
        if matches.count() <= records:
            drawn.weights = {number: [1.0, 1.0, 1.0] for number in matches.numbers()}
            return (yield from _read(selection, drawn))
    created = yield from _created(selection, window, has_bits, records)
    drawn.add(0, created, records // 4)
    most = _MEMBERS * records if has_bits and selection.bits is not None else records
    for order, key, quota in ((1, keys.started, records // 4), (2, keys.finished, records)):
        strata = yield from _scored(key, window, most)
        if has_bits and selection.bits is not None:
            strata = [replace(one, numbers=matches.among(one.numbers)) for one in strata]
        drawn.add(order, strata, quota)
    return (yield from _read(selection, drawn))


def _created(selection: Selection, window: Window, has_bits: bool, records: int) -> Steps[list[_Stratum]]:
    """Give what was created in each step, to the nearest mark: wide enough at both ends, exact by the records."""
    edges = window.edges
    marks = selection.keys.marks
    asks = [zrange(marks, "-inf", str(us), 0, 1, descending=True) for us in edges[:-1]]
    *below, above = yield [*asks, zrange(marks, str(edges[-1]), "+inf", 0, 1)]
    low, high = selection.low, selection.high + 1
    ends = [min(max(low, int(found[0][0]) if found else low), high) for found in below]
    # Marks that were set at one time by several callers need not be in the order of their numbers.
    ends = [max(ends[: at + 1]) for at in range(len(ends))]
    ends.append(max(ends[-1], min(high, int(above[0][0]) + 1) if above else high))
    if has_bits:
        # Whole chunks: what lies outside of the window is left out by its record.
        chunks = [end // CHUNK for end in ends[:-1]] + [-(-ends[-1] // CHUNK)]
        return _chunked(selection.matches, chunks, records)
    found = []
    for first, end in pairwise(ends):
        if size := end - first:
            want = min(size, _NEIGHBOURS)
            found.append(_Stratum(size, want, [first + at * size // want for at in range(want)]))
    return found


def _chunked(matches: Matches, ends: Sequence[int], records: int) -> list[_Stratum]:
    """Give the matches of each stretch of chunks: all where these are few, and else those of some chunks of each."""
    steps = [range(*pair) for pair in pairwise(ends)]
    bitmaps = [{at: bits for at in step if (bits := matches.chunks.get(at))} for step in steps]
    sizes = [popcount(b"".join(step.values())) for step in bitmaps]
    found: list[_Stratum] = []
    for step, size in zip(bitmaps, sizes, strict=True):
        there = list(step)
        places = _places_of(size, sum(sizes))
        if sum(sizes) > records and len(there) > places:
            there = [there[at] for at in _spread(len(there), places)]
        numbers = [number for at in there for number in numbers_in(at, step[at])]
        if numbers:
            found.append(_Stratum(size, len(numbers), numbers))
    return found


def _scored(key: str, window: Window, most: int) -> Steps[list[_Stratum]]:
    """Give members of a sorted set for each step: all where these are few, and else some at evenly spaced places."""
    edges = window.edges
    steps = [(str(low), str(high - 1)) for low, high in pairwise(edges)]
    rank, *sizes = yield [zcount(key, "-inf", f"({edges[0]}"), *(zcount(key, *ends) for ends in steps)]
    whole = sum(sizes)
    asks: list[Ask] = []
    counts = []
    for ends, size in zip(steps, sizes, strict=True):
        want = size if whole <= most else min(size, max(_LEAST_OF_A_STEP * _PLACES, most * size // whole))
        before = len(asks)
        if want >= size > 0:
            asks.append(by_name("zrangebyscore", key, *ends, 0, size))
        elif size:
            places = min(_places_of(size, whole), want)
            begins = [rank + at for at in _spread(size, places)]
            asks += [by_name("zrange", key, at, at + want // places - 1) for at in begins]
        counts.append(len(asks) - before)
        rank += size
    answers: list[Any] = (yield asks) if asks else []
    replies = iter(answers)
    found = []
    for size, count in zip(sizes, counts, strict=True):
        members = list(dict.fromkeys(int(member) for _ in range(count) for member in next(replies)))
        if members:
            found.append(_Stratum(size, len(members), members))
    return found


def _spread(size: int, places: int) -> list[int]:
    """Give places all over a range: not evenly, for what comes in batches would be met at the same point of each."""
    return [int((at + at * _GOLDEN % 1) * size / places) for at in range(places)]


def _places_of(size: int, whole: int) -> int:
    return max(_PLACES, _PLACES_IN_ALL * size // max(1, whole))


def _read(selection: Selection, drawn: _Drawn) -> Steps[Sample]:
    plan = selection.plan
    codes = codes_of({*_TIMES, *fields_of(plan.query.root), *(span.field for span in plan.spans)})
    found = yield from read_fields(selection.keys, sorted(drawn.weights), codes)
    seen = tuple(
        replace(_seen(raw), created_weight=created, started_weight=started, finished_weight=finished)
        for number, (execution_id, raw) in found.items()
        if accepts(plan, execution_id, raw) and all(_holds(span, raw) for span in plan.spans)
        for created, started, finished in (drawn.weights[number],)
    )
    return Sample(seen, drawn.complete, len(drawn.weights))


def _seen(raw: Raw) -> Seen:
    created = int(raw["cr"])
    started, finished = (int(raw[code]) if raw.get(code) else None for code in ("sd", "fi"))
    return Seen(raw["st"], created, int(raw.get("qd") or created), started, finished)


def _holds(span: Span, raw: Raw) -> bool:
    """Tell whether a range that its sorted set answers elsewhere holds by the record."""
    if span.field == "duration":
        return "sd" in raw and "fi" in raw and span.holds(int(raw["fi"]) - int(raw["sd"]))
    text = raw.get({"started": "sd", "finished": "fi"}[span.field])
    return text is not None and span.holds(int(text))
