"""What capturing output costs: `python -m benchmarks.logs [registry URL]`.

Each figure is for 100,000 lines of one execution, stored in a real registry, with the default limits and
with the text passed on to /dev/null. Not called `logging.py`: a script in this folder would import that
in the place of Python's own.
"""

from __future__ import annotations

import logging
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from executions import capture
from executions.capture import LogWriter
from executions.ids import new_id
from executions.registry.logs import Logs
from executions.registry.space import Space
from executions.registry.transitions import Ending, Started, Submission, Transitions
from executions.settings import Settings
from executions.states import Status

LINES = 100_000
#: Followers' delays that are measured.
ROUNDS = 20

#: Removed by itself: every key of a benchmark lives an hour at most.
LIFE_S = 3600

logger = logging.getLogger("benchmark")


@dataclass
class Bench:
    settings: Settings

    def __post_init__(self) -> None:
        self.space = Space(self.settings)
        self.logs = Logs(self.space)
        self.transitions = Transitions(self.space)

    def started(self) -> LogWriter:
        execution_id = self.submit()
        started = self.transitions.start(execution_id, None, worker="bench", pid=os.getpid(), pool="solo")
        assert isinstance(started, Started)
        return LogWriter(execution_id, 1, self.logs, self.settings)

    def submit(self) -> str:
        self.last = new_id()
        self.transitions.submit(Submission(id=self.last, function="bench", inputs="[[],{}]"))
        return self.last

    def finish(self) -> None:
        self.transitions.finish(self.last, 1, Ending(status=Status.SUCCESS))


def print_lines() -> None:
    for number in range(LINES):
        print("line number", number)


def log_lines() -> None:
    for number in range(LINES):
        logger.info("line number %d", number)


def child_lines() -> None:
    subprocess.run(["seq", "1", str(LINES)], check=True)


def timed(body: Callable[[], None]) -> float:
    begun = time.perf_counter()
    body()
    return time.perf_counter() - begun


def inside(bench: Bench, body: Callable[[], None]) -> float:
    """Give the seconds of the body and of the flush at its end."""
    writer = bench.started()

    def captured() -> None:
        with capture.attempt(writer):
            body()

    seconds = timed(captured)
    bench.finish()
    return seconds


def compare(bench: Bench, name: str, body: Callable[[], None], *, descriptors: bool = False) -> None:
    bare = timed(body)
    capture.install(descriptors=descriptors)
    outside = timed(body)
    within = inside(bench, body)
    capture.uninstall()
    say(f"{name:<28} {bare:8.3f} {outside:8.3f} {within:8.3f} {(within - bare) / LINES * 1e6:10.2f}")


def follow_delay(bench: Bench) -> None:
    """Measure from the moment a line is written to the moment that a follower has it."""
    writer = bench.started()
    came: list[float] = []
    arrived = threading.Event()

    def read() -> None:
        for _ in bench.logs.follow(writer_id):
            came.append(time.perf_counter())
            arrived.set()

    writer_id = bench.last
    reader = threading.Thread(target=read)
    reader.start()
    delays = []
    for _ in range(ROUNDS):
        arrived.clear()
        begun = time.perf_counter()
        writer.write(logging.INFO, "stdout", "now")
        arrived.wait(10)
        delays.append(came[-1] - begun)
    writer.close()
    bench.finish()
    reader.join()
    delays.sort()
    say(f"\nwritten to followed: median {delays[ROUNDS // 2] * 1000:.0f} ms, worst {delays[-1] * 1000:.0f} ms")


def size(bench: Bench) -> None:
    kept = len(bench.logs.read(bench.last, 1, limit=10_000).records)
    key = bench.space.keys(bench.last).log(bench.last, 1)
    used = bench.space.client.memory_usage(key) or 0
    say(f"\nstored of an execution that printed {LINES:,} lines: {kept:,} lines, {used / 1024:.0f} KiB of the server")


def endless(bench: Bench) -> None:
    """Print 200 MB and look at the process's memory."""
    line = "x" * 99

    def body() -> None:
        for _ in range(2_000_000):
            print(line)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    capture.install()
    seconds = inside(bench, body)
    capture.uninstall()
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    say(f"printing 200 MB: {seconds:.1f} s, the process grew by {growth:.0f} MiB")


def say(text: str) -> None:
    sys.__stderr__.write(text + "\n")  # type: ignore[union-attr]


def main() -> None:
    url = sys.argv[1] if len(sys.argv) > 1 else None
    bench = Bench(Settings.from_env(url=url, namespace=f"bench-{new_id()}", retention_s=LIFE_S))
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 -- it stays until the end
    say(f"{LINES:,} lines, seconds{'':<12} {'bare':>8} {'outside':>8} {'captured':>8} {'us a line':>10}")
    compare(bench, "print", print_lines)
    size(bench)
    compare(bench, "logging", log_lines)
    follow_delay(bench)
    endless(bench)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    compare(bench, "child process (descriptors)", child_lines, descriptors=True)


if __name__ == "__main__":
    main()
