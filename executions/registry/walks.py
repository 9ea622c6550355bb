"""Ways through one shard in the order of a sort, a piece at a time.

A walk gives candidates in order and remembers the place after the last one it looked at, so that it can be
left and taken up again on the next page. It stops early when the page's budget is spent.
"""

from __future__ import annotations

from collections.abc import Sequence

from executions.query.cursor import Place, Sort
from executions.query.plan import AnyOf, Bit, Bits, Span, Without
from executions.registry.indexes import CHUNK, Matches, numbers_in
from executions.registry.rounds import Steps, zrange
from executions.registry.selection import SCORES_AT_ONCE, Selection, read_scores, score_bounds, score_key

#: Chunks that the first window of a walk by number reads; each further one is four times as large.
_FIRST_WINDOW = 8

#: Members that the first step along a sorted set reads; each further one is twice as large.
_FIRST_STEP = 256

#: With so few matches, asking for all their scores beats walking along the sorted set.
_GATHER_FEW = 5000

#: With more matches than this their scores are not asked for all at once, however long the walk.
_GATHER_MOST = 50_000

#: Numbers that are tested at once where a test needs the server.
_TESTED_AT_ONCE = 500

#: Which executions may be without a value; more than these are not, but a test by score decides.
_VALUELESS: dict[str, Bits] = {
    "started": Without(Bit("has:started")),
    "finished": AnyOf((Bit("status:pending"), Bit("status:running"))),
    "duration": AnyOf(
        (
            Without(Bit("has:started")),
            *(Bit(f"status:{word}") for word in ("pending", "running", "cached", "failed", "terminated")),
        )
    ),
}

#: A number whose text comes after that of every other.
_LARGEST = 10**18 - 1

#: A number, and its score where the sort has one.
Candidate = tuple[int, int | None]


class NumberWalk:
    """Goes by number, which is the order of creation; with `lacking`, over those without a score only."""

    def __init__(
        self,
        selection: Selection,
        matches: Matches,
        place: Place,
        *,
        descending: bool,
        lacking: str | None = None,
    ) -> None:
        self._selection, self._matches = selection, matches
        self._descending, self._lacking = descending, lacking
        self._ahead: list[int] = []
        self._window = _FIRST_WINDOW
        self.place = place
        first, last = matches.first, matches.last
        if place.number is not None:
            first, last = (first, min(last, place.number // CHUNK)) if descending else (
                max(first, place.number // CHUNK), last)  # fmt: skip
        #: The chunks that are still to be read lie between these two.
        self._first, self._last = first, last

    @property
    def is_done(self) -> bool:
        return not self._ahead and self._first > self._last

    def take(self, want: int) -> Steps[list[Candidate]]:
        """Give as many candidates as wanted, or some more; fewer at the end and where the budget is spent."""
        found: list[int] = []
        budget = self._selection.budget
        while len(found) < want and not self.is_done and not (budget.is_spent and not self._ahead):
            if not self._ahead:
                yield from self._read_on()
                continue
            is_tested = bool(self._lacking or self._selection.wide)
            size = _TESTED_AT_ONCE if is_tested else want - len(found)
            batch, self._ahead = self._ahead[:size], self._ahead[size:]
            found += (yield from self._tested(batch)) if is_tested else batch
            self.place = Place(self.place.top, batch[-1])
        return [(number, None) for number in found]

    def _read_on(self) -> Steps[None]:
        size = min(self._window, self._matches.window)
        self._window *= 4
        if self._descending:
            start = max(self._first, self._last - size + 1)
            chunks = range(self._last, start - 1, -1)
            self._last = start - 1
        else:
            end = min(self._last, self._first + size - 1)
            chunks = range(self._first, end + 1)
            self._first = end + 1
        yield from self._matches.load(chunks)
        for chunk in chunks:
            numbers = numbers_in(chunk, self._matches.chunks.get(chunk, b""))
            self._ahead += reversed(numbers) if self._descending else numbers
        self._ahead = [number for number in self._ahead if self._is_after(number)]
        if not self._ahead:
            # What was read in vain is not read again by the next page.
            passed = (self._last + 1) * CHUNK if self._descending else self._first * CHUNK - 1
            self.place = Place(self.place.top, passed)

    def _is_after(self, number: int) -> bool:
        at = self.place.number
        return at is None or (number < at if self._descending else number > at)

    def _tested(self, numbers: Sequence[int]) -> Steps[list[int]]:
        left = list(numbers)
        if self._lacking:
            scores = yield from read_scores(self._selection.keys, self._lacking, left)
            self._selection.budget.spend(len(left))
            left = [number for number, score in zip(left, scores, strict=True) if score is None]
        return (yield from self._selection.within(left))


class ScoreWalk:
    """Goes along a sorted set and keeps what matches; where few match, it asks for their scores instead."""

    def __init__(self, selection: Selection, sort: Sort, place: Place, span: Span | None) -> None:
        self._selection, self._matches = selection, selection.matches
        self._key, self._field = score_key(selection.keys, sort.field), sort.field
        self._descending = sort.descending
        self._low, self._high = score_bounds(span)
        self._step = _FIRST_STEP
        self._walked = self._ties = 0
        #: What was found and not yet given out; how far was read to find it; whether that was all.
        self._ahead: list[Candidate] = []
        self._read = self.place = place
        self._ended = False

    @property
    def is_done(self) -> bool:
        return not self._ahead and self._ended

    def take(self, want: int) -> Steps[list[Candidate]]:
        """Give as many candidates as wanted; fewer at the end and where the budget is spent."""
        budget = self._selection.budget
        while len(self._ahead) < want and not self._ended and not budget.is_spent:
            if not (self._walked and (yield from self._gather())):
                yield from self._walk_on()
        found, self._ahead = self._ahead[:want], self._ahead[want:]
        self.place = Place(self.place.top, *found[-1]) if self._ahead else self._read
        return found

    def _walk_on(self) -> Steps[None]:
        """Read the next piece of the sorted set."""
        low, high, at = self._low, self._high, self._read.score
        if at is not None:
            low, high = (low, str(at)) if self._descending else (str(at), high)
        (rows,) = yield [zrange(self._key, low, high, self._ties, self._step, descending=self._descending)]
        self._ended = len(rows) < self._step
        self._walked += len(rows)
        self._selection.budget.spend(len(rows))
        self._step = min(self._step * 2, SCORES_AT_ONCE)
        members = [(int(member), int(score)) for member, score in rows]
        fresh = [candidate for candidate in members if self._is_fresh(candidate)]
        # Members of one score that fill a whole piece are passed by counting them.
        is_stuck = bool(members) and members[-1][1] == at
        self._ties = self._ties + len(members) if is_stuck else 0
        self._ahead += yield from self._matching(fresh)
        if fresh:
            self._read = Place(self._read.top, *fresh[-1])

    def _matching(self, candidates: Sequence[Candidate]) -> Steps[list[Candidate]]:
        selection = self._selection
        here = [item for item in candidates if selection.low <= item[0] <= selection.high]
        if not selection.is_bare:
            yield from self._matches.load(sorted({number // CHUNK for number, _ in here}))
            here = [item for item in here if self._matches.holds(item[0])]
        return (yield from self._within(here))

    def _gather(self) -> Steps[bool]:
        """Ask for the scores of all matches where that is cheaper than to walk on."""
        selection = self._selection
        if selection.is_bare or selection.matches.cost > selection.budget.left:
            return False
        yield from self._matches.load_all()
        count = self._matches.count()
        if count > _GATHER_FEW and (count > self._walked or count > _GATHER_MOST):
            return False
        numbers = self._matches.numbers()
        scores = yield from read_scores(selection.keys, self._field, numbers)
        selection.budget.spend(count)
        found = [(n, int(score)) for n, score in zip(numbers, scores, strict=True) if score is not None]
        low, high = float(self._low), float(self._high)
        found = [item for item in found if low <= item[1] <= high and self._is_fresh(item)]
        found.sort(key=_order, reverse=self._descending)
        self._ahead += yield from self._within(found)
        if found:
            self._read = Place(self._read.top, *found[-1])
        self._ended = True
        return True

    def _within(self, candidates: Sequence[Candidate]) -> Steps[list[Candidate]]:
        if not self._selection.wide:
            return list(candidates)
        kept = set((yield from self._selection.within([number for number, _ in candidates])))
        return [item for item in candidates if item[0] in kept]

    def _is_fresh(self, candidate: Candidate) -> bool:
        number, score = self._read.number, self._read.score
        if number is None or score is None:
            return True
        at, here = _order((number, score)), _order(candidate)
        return here < at if self._descending else here > at


class SortedWalk:
    """Along a sorted set first, then over what is not in it."""

    def __init__(self, selection: Selection, sort: Sort, place: Place, span: Span | None) -> None:
        self._selection, self._sort = selection, sort
        self._scored = ScoreWalk(selection, sort, place, span)
        self._is_over = place.number is not None and place.score is None
        self._rest: NumberWalk | None = None
        # What has no value lies in no span.
        self._has_rest = span is None
        self._top = place.top
        self._began = place

    @property
    def place(self) -> Place:
        if self._rest:
            return self._rest.place
        return self._began if self._is_over else self._scored.place

    @property
    def is_done(self) -> bool:
        if self._rest is not None:
            return self._rest.is_done
        return not self._has_rest and (self._is_over or self._scored.is_done)

    def take(self, want: int) -> Steps[list[Candidate]]:
        """Give as many candidates as wanted, or some more; fewer at the end and where the budget is spent."""
        found: list[Candidate] = []
        if not self._is_over:
            found = yield from self._scored.take(want)
            if found or not self._scored.is_done:
                return found
            self._is_over = True
            self._began = beginning_of_rest(self._top, self._sort)
        if self._has_rest:
            self._rest = self._rest or self._begin_rest()
            found = yield from self._rest.take(want)
        return found

    def _begin_rest(self) -> NumberWalk:
        descending = self._sort.descending
        # Newest first, what was added since the first page would come out of order; oldest first, at the end.
        matches = self._selection.narrowed(
            _VALUELESS[self._sort.field], self._top if descending else self._selection.top
        )
        return NumberWalk(self._selection, matches, self._began, descending=descending, lacking=self._sort.field)


def begin_walk(selection: Selection, sort: Sort, place: Place) -> NumberWalk | SortedWalk:
    """Begin, or take up, the walk for a sort."""
    if sort.field == "created":
        if sort.descending and place.number is None:
            place = beginning_of_rest(place.top, sort)
        return NumberWalk(selection, selection.matches, place, descending=sort.descending)
    span = next((span for span in selection.plan.spans if span.field == sort.field), None)
    return SortedWalk(selection, sort, place, span)


def beginning_of_rest(top: int, sort: Sort) -> Place:
    """Give the place before the first number: newest first, nothing newer than the first page's newest."""
    return Place(top, top + 1 if sort.descending else -1)


def not_before(place: Place, last: Place, sort: Sort) -> Place:
    """Move a shard's place up to the last row given out of any shard.

    What lay before has been given out; what is added there meanwhile would come out of order.
    """
    if sort.field == "created" or (place.number is not None and place.score is None):
        return place
    if last.score is None:
        return beginning_of_rest(place.top, sort)
    # Just before everything that has the last row's score, for this shard may have more of them.
    edge = (last.score + 1, 0) if sort.descending else (last.score - 1, _LARGEST)
    if place.number is None or place.score is None:
        return Place(place.top, edge[1], edge[0])
    is_behind = _order((place.number, place.score)) > _order((edge[1], edge[0]))
    return Place(place.top, edge[1], edge[0]) if is_behind == sort.descending else place


def _order(candidate: Candidate) -> tuple[int, str]:
    # Equal scores stand in the order of their members' text: that is how the server sorts them.
    number, score = candidate
    return score or 0, str(number)
