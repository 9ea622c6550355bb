"""`python -m tests.chaos.soak`: many short executions through a small fleet with faults. Does anything grow?

Two workers go through it unharmed but for their connections; their memory is what is measured. A third one is killed,
paused and replaced. The retention is short, so that what has ended is pruned all the while and every key has to go.
"""

from __future__ import annotations

import argparse
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from executions import ExecutionsError, Unavailable
from tests.chaos import ledger
from tests.chaos.backends import BACKENDS
from tests.chaos.fleet import Fleet, Member
from tests.chaos.plan import Step, make_plan
from tests.chaos.storm import Storm
from workers.local.waiting import wait_until
from workers.processes import descendants

#: What happens to everybody, and to the one that may be harmed.
GENTLE, ROUGH = {"cut", "cut_within", "silence", "slow"}, {"kill_worker", "kill_child", "pause_worker", "roll"}

RETENTION_S = 20
#: Executions that are submitted at once, and those that may wait.
BATCH, WAITING = 200, 1500

#: Executions before the first measure: what is loaded once is loaded by then.
WARM = 2000

#: Seconds between two measures, and those that the end may take.
MEASURE_S = 2.0
QUIET_S = 180.0


@dataclass(frozen=True)
class Sample:
    """What one look at a worker showed."""

    executions: int
    parent_kib: int
    children_kib: int
    connections: int


class Soak(Storm):
    """A storm that lasts as long as the work does."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(fleet, lambda text: None)
        self.samples: dict[str, list[Sample]] = defaultdict(list)
        self.accepted: set[str] = set()
        self._measure_at = 0.0

    def _member(self, step: Step, *, pool: str = "") -> Member | None:
        if step.what in GENTLE:
            return super()._member(step, pool=pool)
        victim = self.fleet.members[-1]
        return victim if victim.identity and not victim.paused else None

    def feed(self, count: int, faults: list[Step]) -> None:
        """Submit so many, as fast as they are run, while faults happen."""
        self._began, target, steps = time.monotonic(), len(self.accepted) + count, iter(faults)
        step = next(steps, None)
        while len(self.accepted) < target:
            if step is not None and step.at_s <= self._now():
                self.do(step)
                step = next(steps, None)
            self._catch_up()
            self._measure()
            try:
                waits = self.client.executions.count("status:pending") > WAITING
                if not waits:
                    calls = [(number,) for number in range(min(BATCH, target - len(self.accepted)))]
                    self.accepted.update(one.id for one in self.client.map(self.app.mark, calls, queue="chaos"))
            except ExecutionsError:
                self.outcome.refused += 1
                waits = True
            if waits:
                self._pause.wait(0.1)

    def rest(self) -> float:
        """Let it become quiet and everything be pruned; give the seconds that took, or infinity."""
        began = time.monotonic()
        for _, what in self._later:
            what()
        self._later.clear()
        self.fleet.heal()
        is_empty = wait_until(self._is_empty, QUIET_S + len(self.accepted) / 200)
        return time.monotonic() - began if is_empty else float("inf")

    def _is_empty(self) -> bool:
        self._measure()
        self._pause.wait(0.5)
        try:
            return self.client.executions.count("") == 0
        except Unavailable:
            return False

    def keys(self) -> Counter[str]:
        """Count the keys by what they are, names of executions and workers left out."""
        found = self.client._parts.space.client.scan_iter(count=1000)
        return Counter(":".join(raw.decode(errors="replace").split(":")[:3]) for raw in found)

    def _measure(self) -> None:
        if time.monotonic() < self._measure_at:
            return
        self._measure_at = time.monotonic() + MEASURE_S
        self.fleet.mend()
        for member in self.fleet.members[:-1]:
            if member.identity is not None and len(self.accepted) >= WARM:
                pid = member.identity.pid
                children = sum(resident_kib(one) for one in descendants(pid))
                connections = sum(proxy.connections for proxy in member.proxies)
                sample = Sample(len(self.accepted), resident_kib(pid), children, connections)
                self.samples[member.name].append(sample)


def resident_kib(pid: int) -> int:
    """Read the memory of a process that is its own or shared, as it is in use now."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


def told(name: str, samples: list[Sample]) -> str:
    """Say how one worker went through it: its memory in each fifth of the time, and how it grew in the last three."""
    fifth, parts = max(1, len(samples) // 5), []
    for what in ("parent_kib", "children_kib"):
        values = [getattr(one, what) for one in samples]
        if any(values):
            numbers = [one.executions / 1000 for one in samples]
            slope = statistics.linear_regression(numbers[2 * fifth :], values[2 * fifth :]).slope
            medians = [statistics.median(values[at * fifth : (at + 1) * fifth]) / 1024 for at in range(5)]
            shown = " ".join(f"{one:.1f}" for one in medians)
            parts.append(f"{what[:-4]} {shown} MiB, in the end {slope:+.1f} KiB for 1,000 executions")
    used = [one.connections for one in samples]
    return f"{name}: {'; '.join(parts)}; connections {statistics.median(used):.0f}, at most {max(used)}"


def main() -> int:
    """Run once; 0 where everything ran and nothing was left."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--faults", type=float, default=0.3, help="faults in a second")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix=f"soak-{options.seed}-"))
    make, shards = BACKENDS["valkey"]
    fleet = Fleet(folder, make(folder), shards, {"EXECUTIONS_RETENTION_S": str(RETENTION_S)})
    try:
        os.environ.update(fleet.environ(fleet.backend.ports))  # noqa: TID251
        soak = Soak(fleet)
        fleet.grow(["prefork", "threads", "prefork"])
        fleet.wait_ready(soak.client)
        soak.feed(WARM, [])
        soak.rest()
        before, began = soak.keys(), time.monotonic()
        steps = make_plan(options.seed, 24 * 3600, faults_per_s=2 * options.faults, work_per_s=0)
        soak.feed(options.count, [step for step in steps if step.what in GENTLE | ROUGH])
        seconds, quiet_s = time.monotonic() - began, soak.rest()
        after = soak.keys()
        ran = ledger.ids(folder / "ledger")
        broken = len(soak.accepted - ran)
        report(soak, options, seconds, quiet_s)
        sys.stdout.write(f"{broken} never ran; keys {before.total()} -> {after.total()}\n")
        more = after - before
        if more:
            sys.stdout.write(f"more of {dict(more)}\n")
    finally:
        fleet.stop()
    return 1 if broken or quiet_s == float("inf") else 0


def report(soak: Soak, options: argparse.Namespace, seconds: float, quiet_s: float) -> None:
    """Print what a person wants to know."""
    faults = ", ".join(f"{count} {what}" for what, count in soak.outcome.done.most_common())
    lines = [
        f"seed {options.seed}: {options.count} executions in {seconds:.0f} s, {options.count / seconds:.0f} a second; "
        f"all ended and pruned {quiet_s:.0f} s later",
        f"did: {faults}; {soak.outcome.refused} times the server was away",
        *(told(name, samples) for name, samples in soak.samples.items()),
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
