"""What a checkpoint costs, and how soon a stop arrives: `python -m benchmarks.stopping`.

The stop is measured on the server's clock: from the request in the status log to the entry that the code has
stopped, in a function that checks every 10 ms, with a prefork worker of one child.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import timeit
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from executions import checkpoint, connect, context
from executions.execution import Execution
from executions.slots import Slots, token_of
from workers.local.server import EmbeddedServer

STOPS = 100


def checkpoint_ns(inside: bool) -> float:
    """Nanoseconds of one checkpoint that has nothing to say."""
    slots = Slots(1)
    token = token_of("benchmark", 1)
    slots.occupy(0, token, pid=os.getpid(), thread=0)
    running = context.Running("benchmark", 1, "benchmark", slots, 0, token, cast(Any, None))
    before = context.enter(running if inside else None)
    try:
        return min(timeit.repeat(checkpoint, number=200_000, repeat=5)) / 200_000 * 1e9
    finally:
        context.leave(before)


@contextmanager
def _worker(url: str) -> Iterator[None]:
    environment = {**os.environ, "BENCH_KIND": "ours", "BENCH_URL": url, "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "celery", "-A", "benchmarks.worker_app", "worker", "-c", "1", "-l", "ERROR"]
    process = subprocess.Popen(
        command, env=environment, cwd=Path(__file__).parent.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def stop_ms(url: str) -> list[float]:
    """Milliseconds from each request to the end of the code."""
    taken = []
    with _worker(url), connect(url) as client:
        for _ in range(STOPS):
            execution = client.submit("ours.checking", queue="bench-ours").wait(until="change", timeout=60)
            taken.append(_took(execution.terminate(cause="benchmark").wait(timeout=60)))
    return taken


def _took(execution: Execution) -> float:
    asked, ended = execution.status_log[-2:]
    assert asked["reason"] == "terminating"
    return float((ended["timestamp"] - asked["timestamp"]).total_seconds() * 1000)


def main() -> None:
    """Measure and print."""
    print(f"checkpoint inside an execution   {checkpoint_ns(True):7.0f} ns")
    print(f"checkpoint outside               {checkpoint_ns(False):7.0f} ns")
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(folder, 0, dies_with_parent=True) as server:
        taken = stop_ms(server.url)
    print(f"request to stopped, p50          {statistics.median(taken):7.1f} ms")
    print(f"request to stopped, p99          {statistics.quantiles(taken, n=100)[98]:7.1f} ms")


if __name__ == "__main__":
    main()
