"""The whole look: every execution with what points at it, then what points at nothing, then what lies beside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from executions.clock import SYSTEM_CLOCK
from executions.registry import keys as names
from executions.registry.connection import translated
from executions.registry.indexes import CHUNK, EXISTING, has_bit, numbers_in
from executions.registry.invariants.around import Around
from executions.registry.invariants.elsewhere import Elsewhere
from executions.registry.invariants.findings import Finding
from executions.registry.invariants.judgement import Moment, judge
from executions.registry.invariants.pictures import Picture, read_pictures, read_raw, read_still
from executions.registry.invariants.values import lacking
from executions.registry.keys import ShardKeys
from executions.registry.rounds import ask, by_name, hget, hmget, run
from executions.registry.rows import read_ids
from executions.registry.space import Space
from executions.registry.workers import parse_term
from executions.states import Reason, Status

#: Seconds for which what was read of the workers is good enough: all promises have more slack than that.
FRESH_S = 1.0

#: Chunks of existing numbers that are asked for at once.
_WINDOW = 256

#: Workers that are known by name; a fleet of more is not looked at for owners.
WORKERS_READ = 10_000

#: Findings of each code that are kept; a repair takes these, and the next one the rest.
KEPT = 1000

#: Called with what is looked at, how much of it is done, and how much there is, as far as that is known.
Progress = Callable[[str, int, int], None]


@dataclass
class Totals:
    """How many executions were looked at, by status."""

    by_status: Counter[str] = field(default_factory=Counter)

    @property
    def submitted(self) -> int:
        return self.by_status.total()

    @property
    def ended(self) -> int:
        return sum(count for status, count in self.by_status.items() if Status(status).is_terminal)

    @property
    def live(self) -> int:
        return self.submitted - self.ended


class Inspection:
    """One look at a live registry, in bounded pieces. What seems wrong is read once more, in one step."""

    def __init__(self, space: Space, progress: Progress | None = None) -> None:
        self._space = space
        self._client = space.client
        self._progress = progress or (lambda what, done, of: None)
        self._elsewhere = Elsewhere(space)
        self._moment: Moment | None = None
        self._moment_ends = 0.0
        self._exact: set[str] = set()
        self.totals = Totals()
        #: How often each code was found.
        self.counts: Counter[str] = Counter()

    @translated
    def look(self) -> list[Finding]:
        """Look at everything and give what is wrong, at most `KEPT` of each code; `counts` has all."""
        kept = []
        for finding in self._findings():
            self.counts[finding.code] += 1
            if self.counts[finding.code] <= KEPT:
                kept.append(finding)
        return kept

    def _findings(self) -> Iterator[Finding]:
        for keys in self._space.all_keys():
            self._exact = set()
            yield from self._executions(keys)
            around = Around(self._client, keys, self._exact)
            yield from self._part(f"index of shard {keys.shard}", around.index())
            lists = (around.counts, around.members, around.waiting, around.marks, around.events, around.values)
            for steps in lists:
                yield from self._part(f"lists of shard {keys.shard}", steps())
        yield from self._part("keys", self._elsewhere.keys())
        yield from self._part("services", self._elsewhere.services())
        yield from self._part("workers", self._elsewhere.workers(self.moment))

    @property
    def moment(self) -> Moment:
        """The fleet and the clock, as of a second ago at most."""
        if self._moment is None or SYSTEM_CLOCK.monotonic() >= self._moment_ends:
            self._moment = self._read_moment()
            self._moment_ends = SYSTEM_CLOCK.monotonic() + FRESH_S
        return self._moment

    @translated
    def still(self, keys: ShardKeys, number: int, execution_id: str) -> Picture | None:
        """Read one execution in a single step; nothing where it moves too fast."""
        return read_still(self._client, keys, number, execution_id)

    def _part(self, what: str, steps: Iterable[list[Finding]]) -> Iterator[Finding]:
        for done, found in enumerate(steps, 1):
            self._progress(what, done, 0)
            yield from found

    def _executions(self, keys: ShardKeys) -> Iterator[Finding]:
        (top,) = ask(self._client, hget(keys.meta, "number"))
        last = int(top or 0) // CHUNK
        for start in range(0, last + 1, _WINDOW):
            window = range(start, min(last + 1, start + _WINDOW))
            (bitmaps,) = ask(self._client, hmget(keys.index, [f"{EXISTING}/{chunk}" for chunk in window]))
            for chunk, bitmap in zip(window, bitmaps, strict=True):
                if bitmap:
                    yield from self._chunk(keys, numbers_in(chunk, bitmap))
                self._progress(f"executions of shard {keys.shard}", chunk + 1, last + 1)

    def _chunk(self, keys: ShardKeys, numbers: list[int]) -> Iterator[Finding]:
        known = run(self._client, [read_ids(keys, numbers)])[0]
        raws = run(self._client, [read_raw(keys, list(known.values()))])[0]
        whole = {}
        for (number, execution_id), raw in zip(known.items(), raws, strict=True):
            if raw.get("no") == str(number):
                whole[number] = execution_id, raw
        for number in numbers:
            if number not in whole:
                yield from self._without_record(keys, number, known.get(number, ""))
        here = {number: one for number, (one, _) in whole.items()}
        steps = read_pictures(keys, here, [raw for _, raw in whole.values()])
        ((pictures, exact),) = run(self._client, [steps])
        self._exact |= exact
        yield from lacking(self._client, keys, pictures)
        waiting = []
        for picture in pictures:
            self._count(picture)
            if judge(picture, self.moment):
                yield from self._confirmed(keys, picture)
            if _waits_for_service(picture, self.moment):
                waiting.append(picture)
        for found in self._elsewhere.unawaited(waiting) if waiting else ():
            again = self.still(keys, found.number or 0, found.id)
            if again and _waits_for_service(again, self.moment):
                yield found

    def _count(self, picture: Picture) -> None:
        status = picture.raw.get("st", "")
        if status in set(Status):
            self.totals.by_status[status] += 1

    def _confirmed(self, keys: ShardKeys, picture: Picture) -> list[Finding]:
        again = self.still(keys, picture.number, picture.id)
        if again is None or again.raw.get("no") != str(picture.number):
            return []
        return judge(again, self.moment)

    def _without_record(self, keys: ShardKeys, number: int, execution_id: str) -> Iterator[Finding]:
        (bitmap,), now = ask(
            self._client,
            hmget(keys.index, [f"{EXISTING}/{number // CHUNK}"]),
            hget(keys.record(execution_id), "no"),
            transaction=True,
        )
        if has_bit(bitmap, number) and now != str(number).encode():
            found = "it is listed, and its record is gone" if execution_id else "its id is gone"
            yield Finding("no-record", execution_id or f"number {number}", found, keys.shard, number)

    @translated
    def _read_moment(self) -> Moment:
        namespace, settings = self._space.namespace, self._space.settings
        (leases,) = ask(self._client, by_name("zrevrange", names.workers(namespace), 0, WORKERS_READ - 1, True))
        now_s, now_us = self._client.time()
        terms = {term.decode(): float(ends) for term, ends in leases}
        workers = frozenset(parse_term(term)[0] for term in terms)
        return Moment(now_s * 1_000_000 + now_us, settings.lease_s, settings.grace_s, terms, workers)


def _waits_for_service(picture: Picture, moment: Moment) -> bool:
    raw = picture.raw
    since_us = int(raw.get("qd") or raw.get("cr") or 0)
    is_waiting = (raw.get("st"), raw.get("rs")) == (Status.PENDING, Reason.WAITING)
    return is_waiting and bool(raw.get("sv")) and not picture.in_outbox and moment.past(since_us, 0)
