"""How executions went over time: rates, throughput, and how long they waited and ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from math import ceil

from executions.clock import to_datetime
from executions.errors import InvalidInput
from executions.states import Status

#: Most steps that one answer has.
MAX_STEPS = 200

#: About so many steps there are where nobody says how long one is.
_USUAL_STEPS = 48

#: Lengths of a step that people like to read, in seconds.
_NICE_S = (1, 5, 10, 30, 60, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 604_800)

_US = 1_000_000


@dataclass(frozen=True)
class Window:
    """A stretch of time in steps, in microseconds; the last step is shorter where they do not fit."""

    since_us: int
    until_us: int
    step_us: int

    @classmethod
    def of(cls, since_us: int, until_us: int, step_us: int | None) -> Window:
        """Check it, and choose the step where none is named; raises `InvalidInput`."""
        if until_us <= since_us:
            raise InvalidInput("the end of the time must lie after its beginning")
        length = until_us - since_us
        if step_us is None:
            nice = (seconds * _US for seconds in _NICE_S)
            step_us = next((us for us in nice if length <= us * _USUAL_STEPS), ceil(length / _USUAL_STEPS))
        if step_us <= 0 or ceil(length / step_us) > MAX_STEPS:
            least = max(1, ceil(length / MAX_STEPS / _US))
            raise InvalidInput(f"there are at most {MAX_STEPS} steps: make one {least} s or longer")
        return cls(since_us, until_us, step_us)

    @property
    def edges(self) -> list[int]:
        """The beginnings of all steps, and the end of the last one."""
        return [*range(self.since_us, self.until_us, self.step_us), self.until_us]

    def step_of(self, us: int | None) -> int | None:
        """Give the step that a time lies in."""
        if us is None or not self.since_us <= us < self.until_us:
            return None
        return (us - self.since_us) // self.step_us


@dataclass(frozen=True)
class Seen:
    """What the statistics know of one execution: its times, and for how many others it stands in each order."""

    status: str
    created_us: int
    queued_us: int
    started_us: int | None
    finished_us: int | None
    created_weight: float = 1
    started_weight: float = 1
    finished_weight: float = 1


@dataclass(frozen=True)
class Spread:
    """How lengths of time are spread, in seconds: that many percent of them are not above."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Period:
    """What happened in a stretch of time. What is created, started and finished in it may be different executions."""

    since: datetime
    until: datetime
    created: int
    started: int
    #: How many ended in it, by their status; what was reopened since is not among them.
    finished: Mapping[str, int]
    #: Of those that ended in it and had started; of those that started in it, since they were queued.
    duration: Spread | None
    queue_time: Spread | None

    @property
    def ended(self) -> int:
        """How many ended, however they did."""
        return sum(self.finished.values())

    @property
    def success_rate(self) -> float | None:
        """The share of those that ended which succeeded, from 0 to 1; nothing where none ended."""
        return self._share(Status.SUCCESS, Status.CACHED)

    @property
    def failure_rate(self) -> float | None:
        """The share of those that ended which failed; those that were terminated neither succeeded nor failed."""
        return self._share(Status.FAILED)

    @property
    def throughput(self) -> float:
        """How many ended in a second."""
        return self.ended / (self.until - self.since).total_seconds()

    def _share(self, *statuses: Status) -> float | None:
        return sum(self.finished.get(status, 0) for status in statuses) / self.ended if self.ended else None


@dataclass(frozen=True)
class Stats:
    """Periods one after the other, and all of it as one."""

    total: Period
    steps: tuple[Period, ...]
    #: Whether every execution was looked at. Otherwise the numbers are estimates from a sample spread over the time.
    complete: bool
    #: Records that were read.
    scanned: int


@dataclass
class _Tally:
    created: float = 0
    started: float = 0
    finished: Counter[str] = field(default_factory=Counter)
    durations: list[tuple[int, float]] = field(default_factory=list)
    waits: list[tuple[int, float]] = field(default_factory=list)

    def period(self, since_us: int, until_us: int) -> Period:
        since, until = to_datetime(since_us), to_datetime(until_us)
        assert since is not None
        assert until is not None
        finished = {status.value: round(self.finished[status]) for status in Status if self.finished[status]}
        return Period(
            since, until, round(self.created), round(self.started), finished, spread(self.durations), spread(self.waits)
        )


def sum_up(seen: Iterable[Seen], window: Window, complete: bool = True, scanned: int = 0) -> Stats:
    """Put together what was seen, by the steps of a window."""
    edges = window.edges
    steps, total = [_Tally() for _ in edges[1:]], _Tally()
    for one in seen:
        if (at := window.step_of(one.created_us)) is not None:
            for tally in (steps[at], total):
                tally.created += one.created_weight
        if (at := window.step_of(one.started_us)) is not None:
            for tally in (steps[at], total):
                _add_start(tally, one)
        if (at := window.step_of(one.finished_us)) is not None:
            for tally in (steps[at], total):
                _add_end(tally, one)
    return Stats(
        total.period(window.since_us, window.until_us),
        tuple(tally.period(*ends) for tally, ends in zip(steps, pairwise(edges), strict=True)),
        complete,
        scanned,
    )


def spread(lengths: Sequence[tuple[int, float]]) -> Spread | None:
    """Give the percentiles of lengths in microseconds, each with how many it stands for; nothing of nothing.

    A percentile is one of the lengths: the smallest that so many percent do not exceed.
    """
    ordered = sorted(one for one in lengths if one[1])
    if not ordered:
        return None
    whole = sum(weight for _, weight in ordered)
    # Whole percents of whole weights: half of ten is five, and not a little more.
    found, passed, wanted = [], 0.0, [50, 95, 99]
    for length, weight in ordered:
        passed += weight
        while wanted and passed * 100 >= wanted[0] * whole * (1 - 1e-12):
            found.append(length / _US)
            wanted.pop(0)
    return Spread(*found)


def _add_start(tally: _Tally, one: Seen) -> None:
    tally.started += one.started_weight
    # One that waits for its next attempt was queued after its last start.
    if one.started_us is not None and one.started_us >= one.queued_us:
        tally.waits.append((one.started_us - one.queued_us, one.started_weight))


def _add_end(tally: _Tally, one: Seen) -> None:
    tally.finished[one.status] += one.finished_weight  # type: ignore[assignment]
    if one.finished_us is not None and one.started_us is not None:
        tally.durations.append((one.finished_us - one.started_us, one.finished_weight))
