"""How soon the next attempt runs after a child or a worker was lost: `python -m benchmarks.recovery [rounds]`.

With the default settings, two prefork workers of two children and the embedded server. Measured by the server's
clock, from the kill (the time asked of the server just before it) to the start of the next attempt.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from executions import Client, connect
from executions.execution import Execution
from executions.settings import Settings
from workers.local.server import EmbeddedServer
from workers.local.waiting import wait_until

ROUNDS = 8
PATIENCE_S = 60.0


class Fleet:
    """Two workers, one of which is killed and started again."""

    def __init__(self, url: str, client: Client) -> None:
        self.client = client
        self._url = url
        self.processes = {name: self._start(name) for name in ("one", "two")}

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "BENCH_KIND": "ours", "BENCH_URL": self._url, "PYTHONWARNINGS": "ignore"}
        command = [sys.executable, "-m", "celery", "-A", "benchmarks.worker_app", "worker", "-c", "2", "-l", "CRITICAL"]
        return subprocess.Popen(
            [*command, "-n", f"{name}@bench"], env=environment, cwd=Path(__file__).parent.parent,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def wait_for_both(self) -> None:
        """Wait until both beat, and have done so for as long as a leader needs to judge others."""
        wait_until(lambda: sum(worker.alive for worker in self.client.workers.list()) == 2, PATIENCE_S)
        wait_until(lambda: False, Settings().lease_s + 2 * Settings().beat_s)

    def kill_worker(self, execution: Execution) -> None:
        """Kill the worker that runs this, with all its children."""
        name = str(execution.worker).split("@")[0]
        self.processes[name].kill()
        self.processes[name].wait()

    def start_again(self) -> None:
        """Start what was killed."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                self.processes[name] = self._start(name)

    def stop(self) -> None:
        """End both."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait()


def kill_child(execution: Execution) -> None:
    """Kill the child process that runs this."""
    os.kill(int(execution.pid or 0), signal.SIGKILL)


def recovery_s(client: Client, kill: Callable[[Execution], None]) -> float:
    """Seconds from the kill to the start of the next attempt."""
    # Not at the same moment of a beat each time.
    wait_until(lambda: False, random.uniform(0, Settings().beat_s))
    one = client.submit("ours.checking", queue="bench-ours", on_reset="rerun", max_attempts=2)
    wait_until(lambda: one.refresh().status == "running", PATIENCE_S)
    before = server_time(client)
    kill(one.refresh())
    wait_until(lambda: one.refresh().attempts == 2, PATIENCE_S)
    found = one.refresh()
    assert found.started is not None
    found.terminate(cause="benchmark").wait(timeout=PATIENCE_S)
    return found.started.timestamp() - before


def server_time(client: Client) -> float:
    """Seconds since the epoch, by the server's clock."""
    seconds, micros = client._parts.space.client.time()
    return float(seconds + micros / 1_000_000)


def show(what: str, taken: list[float]) -> None:
    print(f"{what:34}{statistics.median(taken):8.2f} s median{max(taken):8.2f} s at most  ({len(taken)} rounds)")


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedServer(folder, 0, dies_with_parent=True) as server,
        connect(server.url) as client,
    ):
        fleet = Fleet(server.url, client)
        try:
            fleet.wait_for_both()
            show("lost child to next attempt", [recovery_s(client, kill_child) for _ in range(4 * rounds)])
            taken = []
            for _ in range(rounds):
                taken.append(recovery_s(client, fleet.kill_worker))
                fleet.start_again()
                fleet.wait_for_both()
            show("lost worker to next attempt", taken)
        finally:
            fleet.stop()


if __name__ == "__main__":
    main()
