"""One side of the comparison: its app, its workers, and what they cost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celery import Celery

from benchmarks.fleet_apps import make_app
from executions.clock import SYSTEM_CLOCK
from workers.processes import descendants

_TICKS = os.sysconf("SC_CLK_TCK")

#: Seconds after which a benchmark that does not get on is given up.
PATIENCE_S = 300.0


@dataclass
class Side:
    """`stock` or `ours`."""

    kind: str
    url: str

    def __post_init__(self) -> None:
        self.app: Celery = make_app(self.kind, self.url)
        self.queue = f"bench-{self.kind}"

    @property
    def noop(self) -> Any:
        return self.app.tasks[f"{self.kind}.noop"]

    @property
    def now(self) -> Any:
        return self.app.tasks[f"{self.kind}.now"]

    def waiting(self) -> int:
        """Messages in the queue."""
        with self.app.connection_for_read() as connection:
            try:
                return int(connection.default_channel.queue_declare(queue=self.queue, passive=True).message_count)
            except connection.channel_errors:
                return 0

    def worker(self, pool: str, concurrency: int, events: bool = True) -> Worker:
        """Start a worker."""
        command = [
            sys.executable, "-m", "celery", "-A", "benchmarks.worker_app", "worker", "-P", pool,
            "-c", str(concurrency), "-n", f"{self.kind}@bench", "-l", "ERROR", "--without-gossip", "--without-mingle",
        ]  # fmt: skip
        environment = {**os.environ, "BENCH_KIND": self.kind, "BENCH_URL": self.url, "PYTHONWARNINGS": "ignore"}
        process = subprocess.Popen(
            command + (["-E"] if events else []),
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parent.parent,
        )
        return Worker(process)


@dataclass
class Worker:
    """A running worker."""

    process: subprocess.Popen[bytes]

    def cpu_s(self) -> float:
        """CPU seconds of the worker and its children so far."""
        return sum(cpu_s(pid) for pid in (self.process.pid, *descendants(self.process.pid)))

    def stop(self) -> None:
        """End it, after what it runs."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def cpu_s(pid: int) -> float:
    """CPU seconds of one process so far."""
    try:
        parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(parts[11]) + int(parts[12])) / _TICKS


def until(condition: Any, tick: Any) -> None:
    """Look again and again until a condition holds; a benchmark may, the library may not."""
    deadline = SYSTEM_CLOCK.monotonic() + PATIENCE_S
    while not condition():
        if SYSTEM_CLOCK.monotonic() > deadline:
            raise TimeoutError("the benchmark does not get on")
        tick.wait(0.005)
