"""How fast the console is over a million executions, and what those who watch it cost.

    python -m benchmarks.console                         fills a server of its own with 1,000,000: some minutes
    python -m benchmarks.console --executions 20000      the same in seconds
    python -m benchmarks.console --url redis://... --namespace listing    measures what is there, and only reads it
    python -m benchmarks.console --only watched          what 200 viewers cost while 500 executions a second run

The pages are asked for over HTTP of an `executions serve` of its own, rendered and sent as a browser gets them. Where
others use the machine, times say little; so the work is told too: milliseconds of CPU of web process and server.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import sync_playwright

from benchmarks.listing import Filler, percentile, server, tell, timed
from benchmarks.side import Side, cpu_s
from executions import connect
from executions.clock import SYSTEM_CLOCK
from executions.registry.queries import Queries
from executions.registry.space import Space
from executions.settings import Settings
from tests.web import Web, served

ROOT = Path(__file__).parents[1]

#: What is promised of a million executions, in milliseconds at the 95th percentile.
LIST_MS, DETAIL_MS, FACETS_MS, COLD_MS = 100, 80, 100, 600

QUERIES = ("", "status:failed", "status:failed AND queue:q1", "function:tasks.f2 AND status:success", "tag:rare",
           "pipeline:p3 AND -status:success", "property:epochs>40 AND status:failed", "tag:needle",
           "finished:>=-24h AND status:failed", "duration:>1ms")  # fmt: skip

#: Seconds that a load is watched for.
WATCHED_S = 20.0


class Over:
    """One server of pages, asked as a browser asks."""

    def __init__(self, web: Web, space: Space, repeat: int) -> None:
        self._client = httpx.Client(base_url=web.url, timeout=60)
        self._web, self._space, self._repeat = web, space, repeat
        self.missed: list[str] = []

    def time(self, name: str, path: str, target: float, **params: Any) -> None:
        """Measure one address and print it."""
        size = len(self._client.get(path, params=params).raise_for_status().content)
        before = self._work_s()
        took = timed(lambda: self._client.get(path, params=params), self._repeat)
        work = (self._work_s() - before) / self._repeat * 1000
        tell(name, took, f"{work:6.0f}   {size / 1024:4,.0f} KB")
        if percentile(took, 0.95) > target:
            self.missed.append(f"{name}: {percentile(took, 0.95):.0f} ms, not {target:g}")

    def _work_s(self) -> float:
        used = self._space.client.info("cpu")
        return cpu_s(self._web.process.pid) + float(used["used_cpu_user"]) + float(used["used_cpu_sys"])

    def first_id(self, query: str, sort: str = "-created") -> str:
        """Give the id of the first of a list."""
        found = self._client.get("/api/v1/executions", params={"q": query, "sort": sort, "limit": 1}).json()
        return str(found["items"][0]["id"])


def pages(over: Over) -> None:
    """Measure lists, details and counts."""
    print(f"\n  {'the page of 50 with counts and filters':<44} {'p50 ms':>8} {'p95 ms':>8}    CPU ms")
    for query in QUERIES:
        over.time(query or "all", "/executions", LIST_MS, q=query)
    over.time("status:failed, by duration", "/executions", LIST_MS, q="status:failed", sort="-duration")
    print("\n  the same 50 from the API")
    for query in QUERIES:
        over.time(query or "all", "/api/v1/executions", LIST_MS, q=query)
    print("\n  one execution")
    for query in ("status:success", "status:failed", "tag:needle"):
        path = f"/executions/{over.first_id(query)}"
        over.time(f"the newest of {query}", path, DETAIL_MS)
        over.time("    with its neighbours in the list", path, DETAIL_MS, **{"in": query})
    over.time("the oldest failed one", f"/executions/{over.first_id('status:failed', 'created')}", DETAIL_MS)
    for exact in ("false", "true"):
        print(f"\n  facets by status, function, pipeline; exact={exact}")
        for query in QUERIES[:6]:
            target = FACETS_MS if exact == "false" else float("inf")
            over.time(query or "all", "/api/v1/executions/facets", target, q=query, exact=exact)
    print("\n  other pages")
    for path in ("/", "/failures", "/services", "/workers", "/queues"):
        over.time(path, path, float("inf"))


def browser(over: Over, url: str, repeat: int) -> None:
    """Measure until the first rows can be seen, in a browser that has nothing of ours yet."""
    program = shutil.which("chromium")
    if program is None:
        print("\n  chromium is not installed")
        return
    print(f"\n  until the first row is seen, nothing cached   {'p50 ms':>8} {'p95 ms':>8}")
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        for query in ("", "status:failed AND queue:q1"):
            took = []
            for _ in range(repeat):
                context = chromium.new_context()
                page = context.new_page()
                began = SYSTEM_CLOCK.monotonic()
                page.goto(f"{url}/executions?q={query}", wait_until="commit")
                page.locator("tbody tr").first.wait_for()
                took.append((SYSTEM_CLOCK.monotonic() - began) * 1000)
                context.close()
            tell(query or "all", took)
            if percentile(took, 0.95) > COLD_MS:
                over.missed.append(f"cold, {query or 'all'}: {percentile(took, 0.95):.0f} ms, not {COLD_MS}")
        chromium.close()


class Load:
    """Submits so many functions a second that do nothing."""

    def __init__(self, url: str, rate: int) -> None:
        self._client = connect(url, patience_s=30)
        self._rate = rate
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.submitted = 0

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        began, many = SYSTEM_CLOCK.monotonic(), max(1, self._rate // 20)
        while not self._end.is_set():
            self._client.map("ours.noop", [()] * many, queue="bench-ours")
            self.submitted += many
            self._end.wait(max(0.0, began + self.submitted / self._rate - SYSTEM_CLOCK.monotonic()))


@contextmanager
def viewers_of(url: str, count: int) -> Iterator[Callable[[], dict[str, Any]]]:
    """Have some watch; what is given ends that and tells what they got."""
    command = [sys.executable, "-m", "benchmarks.viewers", url, str(count)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"

    def end() -> dict[str, Any]:
        told, _ = process.communicate()
        return dict(json.loads(told))

    with process:
        yield end


def watched(viewers: int, rate: int) -> None:
    """Measure workers and web process without anybody who watches, and with many."""
    print(f"\n  {rate} executions a second for {WATCHED_S:g} s, one worker of two processes")
    with tempfile.TemporaryDirectory() as folder, server(None) as url:
        worker = Side("ours", url).worker("prefork", 2)
        try:
            with connect(url) as client, served(url, "ex", folder=Path(folder)) as web:
                client.submit("ours.noop", queue="bench-ours").wait(timeout=60)
                for count in (0, viewers, 0, viewers):
                    _round(client, worker, web, count, rate)
        finally:
            worker.stop()


def _round(client: Any, worker: Any, web: Any, count: int, rate: int) -> None:
    asked = httpx.Client(base_url=web.url, timeout=60)
    done, cpu, web_cpu = client.executions.count("status:success"), worker.cpu_s(), cpu_s(web.process.pid)
    pause, took, told = threading.Event(), [], {}
    with viewers_of(web.url, count) as end, Load(client.settings.url, rate) as load:
        began = SYSTEM_CLOCK.monotonic()
        while (seconds := SYSTEM_CLOCK.monotonic() - began) < WATCHED_S:
            took += timed(lambda: asked.get("/executions"), 1)
            pause.wait(0.25)
        ended = client.executions.count("status:success") - done
        cpu, web_cpu = worker.cpu_s() - cpu, cpu_s(web.process.pid) - web_cpu
        waiting = client.executions.count("status:pending")
        submitted = load.submitted
        told = end()
    tell(f"{count} viewers: the list", took, f"{len(took)} times")
    tell("    what is new, for the viewers", told["news_ms"] or [0.0], f"{len(told['news_ms'])} times")
    print(
        f"    {submitted / seconds:,.0f}/s submitted, {ended / seconds:,.0f}/s done, {waiting:,} left; the worker took "
        f"{cpu / max(1, ended) * 1e6:,.0f} us each, the web process {web_cpu / seconds:.0%} of a core; "
        f"{told['bytes'] / seconds / 1e6:,.1f} MB/s to the viewers, {told['resyncs'] / max(1, count):,.0f} resyncs each"
    )
    # The next round begins with an empty queue.
    while client.executions.count("status:pending OR status:running"):
        pause.wait(0.2)


def main() -> int:
    """Measure and print; fail where something is slower than it may be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--url", help="a server to use instead of an embedded one")
    parser.add_argument("--namespace", default="listing", help="an existing one is measured as it is")
    parser.add_argument("--repeat", type=int, default=40)
    parser.add_argument("--only", choices=("pages", "browser", "watched"))
    parser.add_argument("--viewers", type=int, default=200)
    parser.add_argument("--rate", type=int, default=500)
    options = parser.parse_args()
    missed: list[str] = []
    if options.only != "watched":
        with server(options.url) as url, tempfile.TemporaryDirectory() as folder:
            space = Space(Settings(url=url, namespace=options.namespace))
            if not Queries(space).count():
                Filler(space).fill(options.executions, lambda done: None)
            print(f"{Queries(space).count():,} executions")
            with served(url, options.namespace, folder=Path(folder)) as web:
                over = Over(web, space, options.repeat)
                if options.only != "browser":
                    pages(over)
                if options.only != "pages":
                    browser(over, web.url, max(5, options.repeat // 4))
                missed = over.missed
    if options.only in (None, "watched"):
        watched(options.viewers, options.rate)
    print("\n  " + ("slower than it may be:\n  " + "\n  ".join(missed) if missed else "nothing slower than it may be"))
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
