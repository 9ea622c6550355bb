"""What a plan selects in one shard: where to look, and the ways to find out exactly."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from executions.query.plan import (
    EVERYTHING,
    All,
    Beginning,
    Bit,
    Bits,
    Earlier,
    Ids,
    Leaf,
    Plan,
    Span,
    Valued,
    Within,
    any_of,
    bounds,
    leaves_of,
)
from executions.registry.indexes import CHUNK, Budget, Loaded, Matches, chunks_below, chunks_of, numbers_in
from executions.registry.keys import ShardKeys
from executions.registry.rounds import OVERLAP, Ask, Steps, batches, by_name, hget, zcount, zmscore, zpiece, zrange
from executions.registry.rows import read_fields, read_matching, text
from executions.registry.values import lex_count, read_valued

#: A span with at most this many members is read whole and used like a bitmap.
SMALL_SPAN = 10_000

#: Members of a sorted set that one command asks for.
SCORES_AT_ONCE = 2000

#: Commands for scores that go in one round.
_PIECES_AT_ONCE = 10

#: Numbers at the ends of a range over `created` whose records have to tell: the distance between two marks.
_EDGE = CHUNK

#: Records that one step of the search for such an end reads.
_PROBES = 16

#: Most values of a field whose bitmaps stand for all that begin alike, and terms that are looked through for them.
_BEGINNINGS = 50
_TERMS_SEEN = 10_000
_SCAN_COUNT = 1000

#: Asking for the score of one number costs as much as reading so many members of a sorted set, or bitmap chunks.
SCORE_WORK = 3

_DURATION_SCALE = 1024


@dataclass
class Selection:
    """What a plan selects in one shard."""

    keys: ShardKeys
    plan: Plan
    #: The shard's newest number.
    top: int
    #: Every match lies between these two numbers.
    low: int
    high: int
    #: The expression behind `matches`, what in it is known here, and whether nothing but matches is in it.
    bits: Bits | None
    known: dict[Bits, Loaded]
    is_exact: bool
    #: Spans that are too large to be read whole, with the number of their members.
    wide: dict[Span, int]
    budget: Budget
    matches: Matches
    #: Records that were read because only they can tell, and whether more of them would have had to be.
    scanned: int = 0
    is_cut: bool = False

    @property
    def is_bare(self) -> bool:
        """Whether no bitmap and no number narrows it."""
        return self.bits is None and self.plan.created is None

    def narrowed(self, bits: Bits, high: int) -> Matches:
        """Give the matches that are in one more expression and not above a number."""
        both = bits if self.bits is None else All((self.bits, bits))
        return Matches(self.keys, both, self.known, (self.low, min(self.high, high)), self.budget)

    def within(self, numbers: Sequence[int], spans: Sequence[Span] | None = None) -> Steps[list[int]]:
        """Give those of the numbers whose scores lie in the spans (in all wide ones unless named)."""
        left = list(numbers)
        for span in self.wide if spans is None else spans:
            scores = yield from read_scores(self.keys, span.field, left)
            self.budget.spend(len(left) * SCORE_WORK)
            left = [n for n, score in zip(left, scores, strict=True) if score is not None and _in(span, score)]
        return left

    def settle(self, checked: int) -> Steps[None]:
        """Read everything and leave in `matches` exactly what matches; of what only records know, the newest."""
        yield from self.matches.load_all()
        yield from self._settle_edges()
        for span, members in self.wide.items():
            if members <= SCORE_WORK * self.matches.count():
                members_of_span = yield from read_members(self.keys, span)
                self.matches.keep(chunks_of(members_of_span))
            else:
                numbers = self.matches.numbers()
                kept = yield from self.within(numbers, [span])
                self.matches.drop(set(numbers).difference(kept))
        if not self.is_exact:
            yield from self._settle_records(checked)

    def _settle_edges(self) -> Steps[None]:
        """Find the exact ends of a range over `created`: the marks name them to the nearest 512 numbers."""
        span = self.plan.created
        if span is None:
            return
        if span.low is not None:
            numbers = self._between(self.low, self.low + _EDGE)
            self.matches.drop(numbers[: (yield from self._first_since(numbers, span.low))])
        if span.high is not None:
            numbers = self._between(self.high - _EDGE, self.high + 1)
            self.matches.drop(numbers[(yield from self._first_since(numbers, span.high + 1)) :])

    def _between(self, low: int, high: int) -> list[int]:
        chunks = range(max(0, low // CHUNK), high // CHUNK + 1)
        found = [n for chunk in chunks for n in numbers_in(chunk, self.matches.chunks.get(chunk, b""))]
        return [number for number in found if low <= number < high]

    def _first_since(self, numbers: Sequence[int], us: int) -> Steps[int]:
        """Give the place of the first of the numbers created at or after a time, by a few of their records."""
        start, end = 0, len(numbers)
        step = max(1, (end - start) // _PROBES)
        while start < end:
            probes = {numbers[at]: at for at in range(start, end, step)}
            found = yield from read_fields(self.keys, list(probes), ("no", "cr"))
            earlier = [probes[number] for number, (_, raw) in found.items() if int(raw["cr"]) < us]
            later = [probes[number] for number, (_, raw) in found.items() if int(raw["cr"]) >= us]
            start, end = max(earlier, default=start - 1) + 1, min(later, default=end)
            if step == 1:
                break
            # Where all that was looked at is gone, look at every one.
            step = max(1, (end - start) // _PROBES) if found else 1
        return start

    def _settle_records(self, checked: int) -> Steps[None]:
        numbers = self.matches.numbers()
        self.is_cut = len(numbers) > checked
        self.scanned = min(len(numbers), checked)
        kept = yield from read_matching(self.plan, self.keys, numbers[-checked:])
        self.matches.drop(set(numbers).difference(kept))


def open_selection(
    keys: ShardKeys,
    plan: Plan,
    shard_of: Callable[[str], int],
    budget: Budget,
    sort_field: str = "created",
    whole: int | None = None,
) -> Steps[Selection]:
    """Find out where in a shard to look. The span of the sort's own field is left to the walk along it.

    Values of properties and metrics are read where they are at most `whole`, and else left to the records.
    """
    must = [span for span in plan.spans if span.field != sort_field]
    leaves = list(dict.fromkeys(leaves_of(plan.bits)))
    spans = list(dict.fromkeys([*must, *(leaf.span for leaf in leaves if isinstance(leaf, Within))]))
    known_ids = [leaf for leaf in leaves if isinstance(leaf, Ids)]
    here = sorted({known for leaf in known_ids for known in leaf.ids if shard_of(known) == keys.shard})
    asks: list[Ask] = [hget(keys.meta, "number"), *_marks(keys, plan.created)]
    asks += [zcount(score_key(keys, span.field), *score_bounds(span)) for span in spans]
    asks += [hget(keys.record(execution_id), "no") for execution_id in here]
    replies = yield asks
    top, oldest, below, above = (
        int(replies[0] or 0),
        *(int(rows[0][0]) if rows else None for rows in replies[1:4]),
    )
    sizes = dict(zip(spans, replies[4:], strict=False))
    numbers = {one: int(no) for one, no in zip(here, replies[4 + len(spans) :], strict=True) if no}
    known: dict[Bits, Loaded] = {
        leaf: Loaded(chunks_of(numbers[known] for known in leaf.ids if known in numbers)) for leaf in known_ids
    }
    first = first_number(oldest, top)
    known |= yield from _read_values(keys, leaves, whole or SMALL_SPAN, (first, top), budget)
    for span in spans:
        if sizes[span] <= SMALL_SPAN and budget.affords(sizes[span]):
            known[Within(span)] = Loaded(chunks_of((yield from read_members(keys, span))))
    bits, is_exact = yield from _resolved(keys, plan.bits, leaves, known)
    bits = _narrowed(bits, [span for span in must if Within(span) in known])
    low = max(first, below + 1 if below is not None and plan.created else 0)
    high = min(top, above - 1) if above is not None and plan.created else top
    wide = {span: sizes[span] for span in must if Within(span) not in known}
    matches = Matches(keys, bits, known, (low, high), budget)
    return Selection(keys, plan, top, low, high, bits, known, is_exact, wide, budget, matches)


def _read_values(
    keys: ShardKeys, leaves: Sequence[Leaf], whole: int, extent: tuple[int, int], budget: Budget
) -> Steps[dict[Bits, Loaded]]:
    """Read the values of properties and metrics that are asked for, where they are not too many."""
    valued = [leaf for leaf in leaves if isinstance(leaf, Valued)]
    known: dict[Bits, Loaded] = {}
    if not valued:
        return known
    since, *counts = yield [hget(keys.meta, "valued"), *(lex_count(keys, leaf) for leaf in valued)]
    for leaf, size in zip(valued, counts, strict=True):
        if size <= whole and budget.affords(size):
            known[leaf] = Loaded(chunks_of((yield from read_valued(keys, leaf))))
    first, top = extent
    before = min(top + 1, int(since or top + 1))
    if before > max(first, 1):
        known[Earlier()] = Loaded(chunks_below(before, first))
    return known


def _resolved(
    keys: ShardKeys, bits: Bits | None, leaves: Sequence[Leaf], known: dict[Bits, Loaded]
) -> Steps[tuple[Bits | None, bool]]:
    """Give the narrowest expression around the matches, and whether it holds nothing else."""
    if bits is None:
        return None, True
    found: dict[Leaf, tuple[Bits, Bits]] = {
        leaf: (leaf, leaf) for leaf in leaves if isinstance(leaf, Bit) or leaf in known
    }
    if Earlier() in known:
        # What is in order is; of what came before nothing is known.
        found |= {leaf: (leaf, any_of([leaf, Earlier()])) for leaf in found if isinstance(leaf, Valued)}
    for leaf in leaves:
        if isinstance(leaf, Beginning):
            values = yield from _read_beginnings(keys, leaf)
            if values is not None:
                terms = any_of(Bit(term) for term in values)
                found[leaf] = (terms, terms)
    sure, may = bounds(bits, found.get)
    return None if may == EVERYTHING else may, sure == may


def _read_beginnings(keys: ShardKeys, leaf: Beginning) -> Steps[list[str] | None]:
    """Give the terms of a field that begin so; nothing where there are too many of them, or of others."""
    pattern = re.sub(r"([\\*?\[\]^-])", r"\\\1", f"{leaf.field}:{leaf.text}") + "*"
    found: set[str] = set()
    cursor = seen = 0
    while True:
        ((cursor, terms),) = yield [by_name("hscan", keys.counts, cursor, pattern, _SCAN_COUNT)]
        found.update(text(term) for term in terms)
        seen += _SCAN_COUNT
        if len(found) > _BEGINNINGS or (cursor and seen >= _TERMS_SEEN):
            return None
        if not cursor:
            return sorted(found)


def first_number(oldest_mark: int | None, top: int) -> int:
    """Give a number that no existing one lies below.

    Marks are set at every 512th number and removed once nothing exists below the next. What exists before the
    first mark lies in the chunk in front of it, and where there is no mark at all, in the newest chunk.
    """
    chunk = top // CHUNK if oldest_mark is None else oldest_mark // CHUNK - 1
    return max(0, chunk * CHUNK)


def score_key(keys: ShardKeys, field: str) -> str:
    return {"started": keys.started, "finished": keys.finished, "duration": keys.duration}[field]


def score_bounds(span: Span | None) -> tuple[str, str]:
    """Give the smallest and largest score of a span, as the server reads them."""
    if span is None:
        return "-inf", "+inf"
    scale = _DURATION_SCALE if span.field == "duration" else 1
    low = "-inf" if span.low is None else str(span.low * scale)
    high = "+inf" if span.high is None else str(span.high * scale + scale - 1)
    return low, high


def read_scores(keys: ShardKeys, field: str, numbers: Sequence[int]) -> Steps[list[float | None]]:
    """Give the scores of numbers; `None` for those without."""
    key = score_key(keys, field)
    found: list[float | None] = []
    for pieces in batches(batches(numbers, SCORES_AT_ONCE), _PIECES_AT_ONCE):
        for scores in (yield [zmscore(key, piece) for piece in pieces]):
            found += scores
    return found


def read_members(keys: ShardKeys, span: Span) -> Steps[set[int]]:
    """Give all numbers of a span, piece by piece."""
    found: set[int] = set()
    low, high = score_bounds(span)
    offset = 0
    while True:
        members, edge = yield zpiece(score_key(keys, span.field), low, high, offset, SCORES_AT_ONCE)
        found.update(map(int, members))
        if len(members) < SCORES_AT_ONCE or not edge:
            return found
        # Go on at the last known score; only where one score fills a whole piece, count on inside of it.
        last = f"{edge[0][1]:.0f}"
        low, offset = (low, offset + SCORES_AT_ONCE - OVERLAP) if last == low else (last, 0)


def _in(span: Span, score: float) -> bool:
    return span.holds(int(score) // (_DURATION_SCALE if span.field == "duration" else 1))


def _marks(keys: ShardKeys, created: Span | None) -> list[Ask]:
    """Ask for the first mark, the last one before a range over `created`, and the first one after it."""
    low = "-inf" if created is None or created.low is None else f"({created.low}"
    high = "+inf" if created is None or created.high is None else f"({created.high}"
    below = zrange(keys.marks, "-inf", low, 0, 1, descending=True)
    above = zrange(keys.marks, high, "+inf", 0, 1)
    return [zrange(keys.marks, "-inf", "+inf", 0, 1), below, above]


def _narrowed(bits: Bits | None, spans: Sequence[Span]) -> Bits | None:
    items: list[Bits] = [*([] if bits is None else [bits]), *(Within(span) for span in spans)]
    if not items:
        return None
    return items[0] if len(items) == 1 else All(tuple(items))
