"""Ours beside stock Celery, in one run on one machine: `make bench`, or `python -m benchmarks [--tasks N]`.

`--server redis` measures on the `redis-server` that is on the PATH, in place of the embedded Valkey. The two sides
take turns, round by round, so that a machine whose speed drifts does so for both. Quote the ratios; the absolute
figures belong to the machine and the hour. Both sides run prefork with two children, results on,
`task_track_started` and events on.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.side import Side, until
from executions.clock import SYSTEM_CLOCK
from executions.registry.connection import make_client
from workers.local.server import EmbeddedServer, find_binary

KINDS = ("stock", "ours")


@dataclass
class Figures:
    """What was measured, by name and side, one number a round."""

    taken: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))

    def add(self, name: str, kind: str, value: float) -> None:
        self.taken[name][kind].append(value)

    def table(self) -> Table:
        table = Table(title="median of the rounds; ratio = ours / stock, round by round")
        for title in ("", "stock", "ours", "ratio"):
            table.add_column(title, justify="left" if not title else "right")
        for name, sides in self.taken.items():
            stock, ours = sides.get("stock", []), sides.get("ours", [])
            ratios = [b / a for a, b in zip(stock, ours, strict=False) if a]
            table.add_row(name, _shown(stock), _shown(ours), f"{statistics.median(ratios):.2f}" if ratios else "")
        return table


def _shown(values: list[float]) -> str:
    return f"{statistics.median(values):,.5g}" if values else "-"


class Bench:
    """Runs the rounds."""

    def __init__(self, url: str, tasks: int) -> None:
        self.server = make_client(url)
        self.tasks = tasks
        self.sides = {kind: Side(kind, url) for kind in KINDS}
        self.figures = Figures()
        self._tick = threading.Event()

    def round(self) -> None:
        """Measure each side once."""
        for kind in KINDS:
            self.server.execute_command("FLUSHDB", "SYNC")
            side = self.sides[kind]
            self._enqueue(side)
            self._drain(side)
            self._latency(side)

    def _enqueue(self, side: Side) -> None:
        send = side.noop.delay
        send()
        began = SYSTEM_CLOCK.monotonic()
        for _ in range(self.tasks - 1):
            send()
        self.figures.add("enqueue, per second", side.kind, self.tasks / (SYSTEM_CLOCK.monotonic() - began))

    def _drain(self, side: Side) -> None:
        """From the first tenth of the queue to the last: without the worker's start and its last few tasks."""
        first, last = self.tasks * 9 // 10, self.tasks // 50
        worker = side.worker("prefork", 2)
        try:
            until(lambda: side.waiting() <= first, self._tick)
            began, cpu, waiting = SYSTEM_CLOCK.monotonic(), worker.cpu_s(), side.waiting()
            until(lambda: side.waiting() <= last, self._tick)
            done = waiting - side.waiting()
            self.figures.add("drain, per second", side.kind, done / (SYSTEM_CLOCK.monotonic() - began))
            self.figures.add("worker CPU, us per task", side.kind, (worker.cpu_s() - cpu) / done * 1e6)
            until(lambda: side.waiting() == 0, self._tick)
        finally:
            worker.stop()
        used = self.server.info("memory")["used_memory"]
        # In its own thread, as newer servers do by themselves, it would go on while the rest is measured.
        self.server.execute_command("FLUSHDB", "SYNC")
        empty = self.server.info("memory")["used_memory"]
        self.figures.add("server memory, bytes per finished task", side.kind, (used - empty) / self.tasks)

    def _latency(self, side: Side) -> None:
        worker = side.worker("prefork", 2)
        try:
            side.now.delay().get(timeout=60)
            starts, ends = [], []
            for _ in range(200):
                began = SYSTEM_CLOCK.now()
                ran = side.now.delay().get(timeout=60)
                starts.append((ran - began) * 1000)
                ends.append((SYSTEM_CLOCK.now() - began) * 1000)
        finally:
            worker.stop()
        for name, values in (("submit to run", starts), ("submit to result", ends)):
            self.figures.add(f"{name}, p50 ms", side.kind, statistics.median(values))
            self.figures.add(f"{name}, p99 ms", side.kind, statistics.quantiles(values, n=100)[98])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--server", choices=("valkey", "redis"), default="valkey", help="redis: `redis-server` on the PATH"
    )
    given = parser.parse_args()
    console = Console()
    binary = find_binary() if given.server == "valkey" else shutil.which("redis-server")
    if binary is None:
        parser.error("redis-server is not on the PATH")
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedServer(folder, 0, binary=Path(binary), dies_with_parent=True) as server,
    ):
        bench = Bench(server.url, given.tasks)
        for number in range(given.rounds):
            console.print(f"round {number + 1} of {given.rounds} ...")
            bench.round()
        console.print(bench.figures.table())


if __name__ == "__main__":
    main()
