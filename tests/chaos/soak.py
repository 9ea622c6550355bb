"""`python -m tests.chaos.soak`: many short executions through a small fleet with faults. Does anything grow?

A worker of each pool goes through it unharmed but for its connections; the memory and the connections of each of its
processes are what is measured. One more is killed, paused and replaced. The retention is short, so that what has ended
is pruned all the while and every key has to go. It fails if a process grows, has more connections than
docs/operations.md allows, if a key of ours is left or an execution did not run. `--leak 1000` lets functions leave so
many bytes behind, to see that it does.
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
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from executions import ExecutionsError, Unavailable
from tests.chaos import ledger
from tests.chaos.backends import BACKENDS
from tests.chaos.fleet import Fleet, Member
from tests.chaos.growth import growth
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

#: Seconds that keys of killed workers may stay beyond that.
LEFT_S = 60.0


#: A worker's connections as docs/operations.md has them: for each queue, for each place where a function runs in the
#: process itself, and besides. A child process has a few of its own.
BY_QUEUE, BY_SLOT, BESIDES, OF_CHILD = 4, 3, 20, 3


@dataclass(frozen=True)
class Sample:
    """What one look at a process showed."""

    executions: int
    kib: int
    connections: int


class Soak(Storm):
    """A storm that lasts as long as the work does."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(fleet, lambda text: None)
        #: By worker and process: the parent or a child, with its pid.
        self.samples: dict[tuple[str, str], list[Sample]] = defaultdict(list)
        self.accepted: set[str] = set()
        self._measure_at = 0.0

    def _member(self, step: Step, *, pool: str = "") -> Member | None:
        if step.what in GENTLE:
            return super()._member(step, pool=pool)
        victim = self.fleet.members[-1]
        return victim if victim.identity and not victim.paused else None

    def feed(self, count: int, faults: list[Step], seconds: float = float("inf")) -> None:
        """Submit so many, as fast as they are run, while faults happen; stop where the time is over."""
        self._began, target, steps = time.monotonic(), len(self.accepted) + count, iter(faults)
        step = next(steps, None)
        while len(self.accepted) < target and self._now() < seconds:
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
                self._look_at(member, member.identity.pid)

    def _look_at(self, member: Member, parent: int) -> None:
        wires = established({proxy.port for proxy in member.proxies})
        inherited: set[str] = set()
        for pid in (parent, *descendants(parent)):
            own = sockets(pid) & wires - inherited
            inherited |= own
            kib = resident_kib(pid)
            if kib:
                name = f"{'parent' if pid == parent else 'child'} {pid}"
                self.samples[member.name, name].append(Sample(len(self.accepted), kib, len(own)))

    def budget(self, worker: str, process: str) -> int:
        """Give how many connections a process may have."""
        if not process.startswith("parent"):
            return OF_CHILD
        member = next(one for one in self.fleet.members if one.name == worker)
        slots = 0 if member.pool == "prefork" else self.fleet.concurrency(member)
        return BY_QUEUE * len(self.fleet.queues(member)) + BY_SLOT * slots + BESIDES


def resident_kib(pid: int) -> int:
    """Read the memory of a process that is its own or shared, as it is in use now."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


def sockets(pid: int) -> set[str]:
    """List what sockets a process has open, by their numbers."""
    found = set()
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                found.add(str(entry.readlink()).removeprefix("socket:[").removesuffix("]"))
    except OSError:
        pass
    return found


def established(ports: set[int]) -> set[str]:
    """List the sockets that are connected to one of these ports."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {line[9] for line in lines if line[3] == "01" and int(line[2].rpartition(":")[2], 16) in ports}


def judge(soak: Soak) -> tuple[list[str], list[str]]:
    """Say how each process went through it, and what is wrong with that."""
    told, wrong = [], []
    for (worker, process), samples in sorted(soak.samples.items()):
        grew = growth([one.executions for one in samples], [one.kib for one in samples])
        used = sorted(one.connections for one in samples)
        # Cut connections may not be known as such for a moment, so one look says nothing: nineteen of twenty do.
        many, budget = used[int(0.95 * (len(used) - 1))], soak.budget(worker, process)
        name = f"{worker} {process}"
        told.append(
            f"{name}: {grew or 'not there for long enough'}; connections {statistics.median(used):.0f}, "
            f"{many} in the busiest twentieth, at most {used[-1]}, budget {budget}"
        )
        if grew is not None and not grew.is_flat:
            wrong.append(f"{name} grows")
        if many > budget:
            wrong.append(f"{name} has {many} connections")
    if not any("flat" in line or "GROWS" in line for line in told):
        wrong.append("no process was looked at for long enough")
    return told, wrong


def options_of() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--faults", type=float, default=0.3, help="faults in a second")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="submit no longer than this")
    parser.add_argument("--leak", type=int, default=0, help="bytes that each execution leaves behind, to see it found")
    return parser.parse_args()


def main() -> int:
    """Run once; 0 where everything ran, nothing was left and nothing grew."""
    options = options_of()
    folder = Path(tempfile.mkdtemp(prefix=f"soak-{options.seed}-"))
    make, shards = BACKENDS["valkey"]
    extra = {"EXECUTIONS_RETENTION_S": str(RETENTION_S), "CHAOS_LEAK": str(options.leak)}
    fleet = Fleet(folder, make(folder), shards, extra)
    try:
        os.environ.update(fleet.environ(fleet.backend.ports))  # noqa: TID251
        soak = Soak(fleet)
        fleet.grow(["prefork", "threads", "gevent", "solo", "prefork"])
        fleet.wait_ready(soak.client)
        soak.feed(WARM, [])
        soak.rest()
        return 1 if go_through(soak, options) else 0
    finally:
        fleet.stop()


def go_through(soak: Soak, options: argparse.Namespace) -> list[str]:
    """Do it, print what a person wants to know, and give what is wrong."""
    before, began, first = soak.keys(), time.monotonic(), len(soak.accepted)
    steps = make_plan(options.seed, 24 * 3600, faults_per_s=2 * options.faults, work_per_s=0)
    soak.feed(options.count, [step for step in steps if step.what in GENTLE | ROUGH], options.seconds)
    seconds, count, quiet_s = time.monotonic() - began, len(soak.accepted) - first, soak.rest()
    namespace = soak.client._parts.settings.namespace
    wait_until(lambda: not left(soak.keys() - before, namespace), LEFT_S)
    more = soak.keys() - before
    told, wrong = judge(soak)
    broken = len(soak.accepted - ledger.ids(soak.fleet.folder / "ledger"))
    wrong += [f"{broken} never ran"] * bool(broken) + [f"{name} is left" for name in left(more, namespace)]
    wrong += ["it did not come to rest"] * (quiet_s == float("inf"))
    faults = ", ".join(f"{count} {what}" for what, count in soak.outcome.done.most_common())
    lines = [
        f"seed {options.seed}: {count} executions in {seconds:.0f} s, {count / seconds:.0f} a second; "
        f"all ended and pruned {quiet_s:.0f} s later",
        f"did: {faults}; {soak.outcome.refused} times the server was away",
        *told,
        f"keys {before.total()} -> {(before + more).total()}, more of {dict(more)}",
        f"wrong: {'; '.join(wrong) or 'nothing'}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return wrong


def left(more: Counter[str], namespace: str) -> list[str]:
    """List the keys of ours among those that there are more of; Celery's own stay as it wants."""
    return [name for name in more if name.startswith(f"{namespace}:")]


if __name__ == "__main__":
    sys.exit(main())
