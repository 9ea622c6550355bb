"""Ways through one shard in the order of a sort, a piece at a time.

A walk gives candidates in order and remembers the place after the last one it looked at, so that it can be
left and taken up again on the next page. It stops early when the page's budget is spent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import pairwise

from executions.query.cursor import Place, Sort
from executions.query.plan import AnyOf, Bit, Bits, Span, Without
from executions.registry.indexes import CHUNK, Matches, numbers_in
from executions.registry.rounds import OVERLAP, Steps, zpiece
from executions.registry.selection import SCORE_WORK, SCORES_AT_ONCE, Selection, read_scores, score_bounds, score_key

#: Chunks that the first window of a walk by number reads; each further one is four times as large.
_FIRST_WINDOW = 8

#: Members that the first step along a sorted set reads; each further one is twice as large. More than `OVERLAP`.
_FIRST_STEP = 256

#: With so few matches, asking for all their scores beats walking along the sorted set.
_GATHER_FEW = 10_000

#: With more matches than this their scores are not asked for all at once, however long the walk.
_GATHER_MOST = 20_000

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

#: A score above all others.
_HIGHEST = 1 << 60

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
        #: Chunks that were read, numbers that were taken out of them, and the number that all of them reach to.
        self._loaded: deque[int] = deque()
        self._ahead: list[int] = []
        self._passed: int | None = None
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
        return not self._ahead and not self._loaded and self._first > self._last

    def take(self, want: int) -> Steps[list[Candidate]]:
        """Give as many candidates as wanted, or some more; fewer at the end and where the budget is spent."""
        found: list[int] = []
        budget = self._selection.budget
        is_tested = bool(self._lacking or self._selection.wide)
        while len(found) < want and not self.is_done:
            batch = self._pull(_TESTED_AT_ONCE if is_tested else want - len(found))
            if batch:
                found += (yield from self._tested(batch)) if is_tested else batch
                self.place = Place(self.place.top, batch[-1])
            if budget.is_spent:
                break
            if not batch:
                yield from self._read_on()
        return [(number, None) for number in found]

    def _pull(self, size: int) -> list[int]:
        """Take the next numbers out of the chunks that were read."""
        while len(self._ahead) < size and self._loaded:
            chunk = self._loaded.popleft()
            numbers = numbers_in(chunk, self._matches.chunks.get(chunk, b""))
            if self._descending:
                numbers.reverse()
            self._ahead += [number for number in numbers if self._is_after(number)]
        batch, self._ahead = self._ahead[:size], self._ahead[size:]
        if not batch and self._passed is not None:
            # What was read in vain is not read again by the next page.
            self.place = Place(self.place.top, self._passed)
        return batch

    def _read_on(self) -> Steps[None]:
        size = min(self._window, self._matches.window)
        self._window *= 4
        if self._descending:
            start = max(self._first, self._last - size + 1)
            chunks = range(self._last, start - 1, -1)
            self._last = start - 1
            self._passed = start * CHUNK
        else:
            end = min(self._last, self._first + size - 1)
            chunks = range(self._first, end + 1)
            self._first = end + 1
            self._passed = (end + 1) * CHUNK - 1
        yield from self._matches.load(chunks)
        self._loaded.extend(chunks)

    def _is_after(self, number: int) -> bool:
        at = self.place.number
        return at is None or (number < at if self._descending else number > at)

    def _tested(self, numbers: Sequence[int]) -> Steps[list[int]]:
        left = list(numbers)
        if self._lacking:
            scores = yield from read_scores(self._selection.keys, self._lacking, left)
            self._selection.budget.spend(len(left) * SCORE_WORK)
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
        self._start = self.place = place
        #: The score that the next piece begins with, and how many members of it to pass by.
        self._at, self._ties = place.score, 0
        self._walked = 0
        self._ended = False
        #: What was found and not yet given out, and all that was found.
        self._ahead: list[Candidate] = []
        self._seen: set[int] = set()

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
        if found:
            self.place = Place(self._start.top, *found[-1])
        if not self._ahead:
            self.place = self._later(self.place, self._reached())
        return found

    def _walk_on(self) -> Steps[None]:
        """Read the next piece of the sorted set."""
        low, high, at = self._low, self._high, self._at
        if at is not None:
            low, high = (low, str(at)) if self._descending else (str(at), high)
        step = self._step
        members, edge = yield zpiece(self._key, low, high, self._ties, step, descending=self._descending)
        self._ended = len(members) < step or not edge
        self._walked += step
        self._selection.budget.spend(len(members))
        self._step = min(step * 2, SCORES_AT_ONCE)
        numbers = yield from self._matching(list(map(int, members)))
        yield from self._add([n for n in numbers if n not in self._seen])
        if not self._ended:
            self._at = int(edge[0][1])
            # Members of one score that fill a whole piece are passed by counting them.
            self._ties = self._ties + step - OVERLAP if self._at == at else 0

    def _matching(self, numbers: list[int]) -> Steps[list[int]]:
        selection = self._selection
        here = [n for n in numbers if selection.low <= n <= selection.high]
        if selection.is_bare:
            return here
        yield from self._matches.load(sorted({n // CHUNK for n in here}))
        return self._matches.among(here)

    def _gather(self) -> Steps[bool]:
        """Ask for the scores of all matches where that is cheaper than to walk on."""
        selection = self._selection
        if selection.is_bare or selection.matches.cost > selection.budget.left:
            return False
        yield from self._matches.load_all()
        count = self._matches.count()
        if count > _GATHER_FEW and (count * SCORE_WORK > self._walked or count > _GATHER_MOST):
            return False
        yield from self._add([n for n in self._matches.numbers() if n not in self._seen])
        self._ended = True
        return True

    def _add(self, numbers: list[int]) -> Steps[None]:
        """Put matches into their order behind what was found before; leave out what was moved away meanwhile."""
        scores = yield from read_scores(self._selection.keys, self._field, numbers)
        self._selection.budget.spend(len(numbers) * SCORE_WORK)
        low, high = self._ahead_of_walk()
        found: list[Candidate] = [
            (n, int(score))
            for n, score in zip(numbers, scores, strict=True)
            if score is not None and low <= score <= high
        ]
        found = _in_order([candidate for candidate in found if self._is_fresh(candidate)], self._descending)
        if self._selection.wide:
            kept = set((yield from self._selection.within([n for n, _ in found])))
            found = [candidate for candidate in found if candidate[0] in kept]
        self._ahead += found
        self._seen.update(n for n, _ in found)

    def _ahead_of_walk(self) -> tuple[float, float]:
        """Give the scores between which is what was not passed by."""
        low, high = float(self._low), float(self._high)
        if self._at is None:
            return low, high
        return (low, min(high, self._at)) if self._descending else (max(low, self._at), high)

    def _is_fresh(self, candidate: Candidate) -> bool:
        """Tell whether it lies behind where the page begins."""
        start = self._start
        return start.score is None or self._later(start, Place(start.top, *candidate)) is not start

    def _reached(self) -> Place:
        """Give the place up to which everything was found."""
        top = self._start.top
        if self._ended:
            return Place(top, 0, 0) if self._descending else Place(top, _LARGEST, _HIGHEST)
        return self._start if self._at is None else just_before(self._at, top, descending=self._descending)

    def _later(self, one: Place, other: Place) -> Place:
        """Give the place that lies further on; the first where they are the same."""
        if one.number is None or other.number is None:
            return other if one.number is None else one
        here, there = _order((one.number, one.score)), _order((other.number, other.score))
        return other if (there < here if self._descending else there > here) else one


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


def just_before(score: int, top: int, *, descending: bool) -> Place:
    """Give the place before everything that has a score."""
    return Place(top, 0, score + 1) if descending else Place(top, _LARGEST, score - 1)


def just_after(score: int, top: int, *, descending: bool) -> Place:
    """Give the place behind everything that has a score."""
    return Place(top, 0, score) if descending else Place(top, _LARGEST, score)


def not_before(place: Place, last: Place, sort: Sort, *, equals_follow: bool) -> Place:
    """Move a shard's place up to the last row given out of any shard.

    What lay before has been given out; what is added there meanwhile would come out of order. With
    `equals_follow` the shard's turn is not over, and its executions with the last row's score are still to come.
    """
    if sort.field == "created" or (place.number is not None and place.score is None):
        return place
    if last.score is None:
        return beginning_of_rest(place.top, sort)
    edge_of = just_before if equals_follow else just_after
    edge = edge_of(last.score, place.top, descending=sort.descending)
    if place.number is None or edge.number is None:
        return edge
    is_behind = _order((place.number, place.score)) > _order((edge.number, edge.score))
    return edge if is_behind == sort.descending else place


def _in_order(found: list[Candidate], descending: bool) -> list[Candidate]:
    """Sort by score; by the text of the number only where there are equal ones, which takes several times as long."""
    found.sort(key=lambda candidate: candidate[1] or 0, reverse=descending)
    if any(here[1] == there[1] for here, there in pairwise(found)):
        found.sort(key=_order, reverse=descending)
    return found


def _order(candidate: Candidate) -> tuple[int, str]:
    # Equal scores stand in the order of their members' text: that is how the server sorts them.
    number, score = candidate
    return score or 0, str(number)
