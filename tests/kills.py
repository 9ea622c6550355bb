"""`python -m tests.kills`: the web process is killed under load, again and again; what it told must have no gaps.

One worker runs functions that print numbered lines, others are submitted all the time, and pages are asked for by
several at once. Two listeners go on where they were after each kill, as a browser does: one follows everything that
happens by its stream, the other the live logs, line by line. In the end each entry of each status log must have been
told, and each line of each log, in order and none twice.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from executions import Client, connect
from executions.clock import SYSTEM_CLOCK
from tests.web import Web, served
from workers.local.server import EmbeddedServer, find_binary, free_port
from workers.local.waiting import wait_until

ROOT = Path(__file__).parents[1]

#: Seconds that anything may take to come about.
PATIENCE_S = 60.0

#: Those who ask for pages all the time, submissions a second, and logs that are followed.
READERS = 3
RATE = 40
LOGS = 3

#: A step of a status log: execution, status, attempt.
Step = tuple[str, str, int]


@dataclass
class Told:
    """What a run has seen."""

    kills: int = 0
    steps: set[Step] = field(default_factory=set)
    frames: int = 0
    resyncs: int = 0
    connections: int = 0
    lines: dict[str, list[int]] = field(default_factory=dict)
    answered: int = 0
    refused: int = 0
    back_s: list[float] = field(default_factory=list)


class Mortal:
    """The web process, always at the same address."""

    def __init__(self, registry: str, folder: Path) -> None:
        self._registry, self._folder, self._port = registry, folder, str(free_port())
        self._stack = ExitStack()
        self.url = f"http://127.0.0.1:{self._port}"
        self._web = self._start()

    def _start(self) -> Web:
        return self._stack.enter_context(served(self._registry, "ex", "--port", self._port, folder=self._folder))

    def kill(self) -> float:
        """Kill it and start it again; give how long nobody answered."""
        began = SYSTEM_CLOCK.monotonic()
        self._web.process.kill()
        self._web.process.wait()
        self._web = self._start()
        return SYSTEM_CLOCK.monotonic() - began

    def close(self) -> None:
        """End it."""
        self._stack.close()


class Run:
    """A worker, a load, and the two who listen."""

    def __init__(self, registry: str, folder: Path) -> None:
        self.folder = folder
        self.client: Client = connect(registry, payloads=str(folder))
        self.mortal = Mortal(registry, folder)
        self.told = Told()
        self.chatting: list[str] = []
        self.submitted: list[str] = []
        self._end = folder / "end"
        self._quiet = threading.Event()
        self._over = threading.Event()
        self._cursor = ""

    def begin(self) -> None:
        """Start all who ask and listen."""
        first = httpx.get(f"{self.mortal.url}/api/v1/events", params={"since": "now"}, timeout=PATIENCE_S).json()
        self._cursor = first["next_cursor"]
        self.chatting = [self.client.submit("reports.build", str(self._end)).id for _ in range(LOGS)]
        self._threads = [
            threading.Thread(target=what, daemon=True)
            for what in (self._submit, self._listen, self._follow, *[self._read] * READERS)
        ]
        self._submitter = self._threads[0]
        for thread in self._threads:
            thread.start()

    def kill(self, times: int, rng: random.Random) -> None:
        """Kill it so often, at any moment."""
        for _ in range(times):
            self._over.wait(rng.uniform(0.3, 2.0))
            self.told.back_s.append(self.mortal.kill())
            self.told.kills += 1

    def finish(self) -> list[str]:
        """Let everything end, and give what is missing of what was told."""
        self._quiet.set()
        self._end.touch()
        self._submitter.join(PATIENCE_S)
        everything = [*self.submitted, *self.chatting]
        for one in everything:
            self.client.executions.get(one).wait(timeout=PATIENCE_S)
        due = {step for one in everything for step in self._steps(one)}
        ends = {one: self.client.executions.last_line(one, 1) for one in self.chatting}
        wait_until(lambda: due <= self.told.steps, PATIENCE_S)
        wait_until(lambda: all(self.told.lines.get(one, [0])[-1:] == [last] for one, last in ends.items()), PATIENCE_S)
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        missing = [f"never told: {step}" for step in sorted(due - self.told.steps)]
        for one, last in ends.items():
            if (got := self.told.lines.get(one, [])) != list(range(1, last + 1)):
                missing.append(f"the log of {one} has {last} lines, and {len(got)} were told, not each of them once")
        return missing

    def _steps(self, one: str) -> Iterator[Step]:
        for entry in self.client.executions.get(one).status_log:
            yield one, str(entry["status"]), int(entry["attempt"] or 0)

    def _submit(self) -> None:
        while not self._quiet.wait(1 / RATE):
            self.submitted.append(self.client.submit("orders.charge", 1, amount=1.0).id)

    def _read(self) -> None:
        paths = ("/executions", "/", "/api/v1/executions?limit=100", "/failures")
        with httpx.Client(base_url=self.mortal.url, timeout=PATIENCE_S) as client:
            for path in self._again(paths):
                with self._refused():
                    client.get(path)
                    self.told.answered += 1

    def _again(self, items: tuple[str, ...]) -> Iterator[str]:
        at = 0
        while not self._over.wait(0.02):
            yield items[at % len(items)]
            at += 1

    @contextmanager
    def _refused(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError:
            self.told.refused += 1
            self._over.wait(0.1)

    def _listen(self) -> None:
        while not self._over.is_set():
            with self._refused():
                self.told.connections += 1
                headers = {"Last-Event-ID": self._cursor}
                address = f"{self.mortal.url}/api/v1/stream"
                with httpx.stream("GET", address, headers=headers, timeout=20) as answer:
                    self._take(answer.iter_lines())

    def _take(self, lines: Iterator[str]) -> None:
        frame: dict[str, str] = {}
        for line in lines:
            if self._over.is_set():
                return
            name, _, value = line.partition(": ")
            if line:
                frame[name] = value
                continue
            self._heard(frame)
            frame = {}

    def _heard(self, frame: dict[str, str]) -> None:
        self.told.frames += 1
        if frame.get("event") == "resync":
            # As a page does: it reads again what it shows. Here that is all that happened.
            self.told.resyncs += 1
            self._catch_up()
        elif frame.get("event", "").startswith("execution."):
            event = json.loads(frame["data"])
            self.told.steps.add((event["id"], event["status"], int(event["attempt"] or 0)))
        # What has been told whole: only now a kill makes it go on from there.
        self._cursor = frame.get("id", self._cursor)

    def _catch_up(self) -> None:
        since = self._cursor
        while True:
            asked = {"since": since, "limit": 500}
            found = httpx.get(f"{self.mortal.url}/api/v1/events", params=asked, timeout=PATIENCE_S).json()
            for event in found["items"]:
                self.told.steps.add((event["id"], event["status"], int(event["attempt"] or 0)))
            since = found["next_cursor"]
            if len(found["items"]) < 500:
                return

    def _follow(self) -> None:
        after = dict.fromkeys(self.chatting, 0)
        with httpx.Client(base_url=self.mortal.url, timeout=PATIENCE_S) as client:
            while not self._over.wait(0.1):
                for one in after:
                    with self._refused():
                        path = f"/api/v1/executions/{one}/logs"
                        page: dict[str, Any] = client.get(path, params={"after": after[one]}).raise_for_status().json()
                        self.told.lines.setdefault(one, []).extend(line["line"] for line in page["items"])
                        after[one] = page["next_line"]


@contextmanager
def worker(registry: str, folder: Path) -> Iterator[None]:
    """Have one worker of the browser tests' functions."""
    browser = ROOT / "tests" / "browser"
    environ = dict(os.environ)  # noqa: TID251
    environ |= {"FLOOR_BROKER": registry, "PYTHONPATH": f"{ROOT}:{browser}", "EXECUTIONS_PAYLOADS": str(folder)}
    command = [sys.executable, "-m", "celery", "-A", "floor", "worker", "-P", "threads", "-c", "6", "-l", "ERROR"]
    with (folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(command, env=environ, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=30)
        process.kill()


def storm(registry: str, folder: Path, kills: int, seed: int, say: Callable[[str], None] = print) -> list[str]:
    """Run it all; give what was missing."""
    with worker(registry, folder):
        run = Run(registry, folder)
        try:
            run.begin()
            run.kill(kills, random.Random(seed))
            missing = run.finish()
        finally:
            run.mortal.close()
    told = run.told
    lines = sum(map(len, told.lines.values()))
    away = sum(told.back_s) / len(told.back_s)
    say(
        f"{told.kills} kills, away for {away:.1f} s each; {len(run.submitted):,} executions, {len(told.steps):,} steps "
        f"told in {told.frames:,} frames over {told.connections} connections, {told.resyncs} times told to read again; "
        f"{lines:,} lines of {len(told.lines)} live logs; {told.answered:,} pages answered, {told.refused:,} tries cut "
        f"or refused; {len(missing)} gaps"
    )
    return missing


def main() -> int:
    """Run it on a server of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with EmbeddedServer(folder / "server", 0, binary=find_binary(), dies_with_parent=True) as server:
            missing = storm(server.url, folder, options.kills, options.seed)
    print("\n".join(missing[:20]))
    return 1 if missing else 0


if __name__ == "__main__":
    raise SystemExit(main())
