"""`python -m tests.chaos.leader`: the worker that does the upkeep is killed again and again, while there is much to do.

There is work for later, work that expires before its time, work with a time limit, work that is tried again after a
pause, chords, and what each killed worker ran. Each leader is killed at once, or at most two seconds after it began to
lead, if another worker is there to follow it. When all is quiet again the promises of a storm must hold, and what was
due must have been done within two leases of each kill that came between, by the times that the registry itself wrote.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from executions.clock import SYSTEM_CLOCK, to_datetime
from executions.execution import Execution
from tests.chaos.backends import Backend
from tests.chaos.fleet import LEASE_S, Fleet, Member
from tests.chaos.plan import Step
from tests.chaos.storm import Outcome, Storm, show
from workers.local.waiting import wait_until

#: Seconds that each leader leads at most, if there is another.
LEADS_S = 2.0

#: Seconds that a worker may take to follow, or to be there again, on a machine that others use too.
FOLLOWS_S = 60.0

#: Submissions in a second, and what they are, in turn. With two processors busy, starting workers takes the rest.
RATE = 6.0
WORK = ("eta", "eta", "expired", "work", "eta", "once", "shaky", "eta", "expired", "late", "work", "chord")

T = TypeVar("T")


class Leaders(Storm):
    """One run."""

    def __init__(self, fleet: Fleet, kills: int, seed: int) -> None:
        super().__init__(fleet, lambda text: print(text, flush=True))
        self._random = random.Random(seed)
        #: When they were, by this machine's clock, which is the registry's too.
        self._killed_at: list[float] = []
        self._kills = kills
        self._sent = 0
        #: Seconds from each kill to the next lead.
        self.without_s: list[float] = []
        #: Seconds by which upkeep was late, of all that it had to do at a time.
        self.late_s: list[float] = []

    def go(self) -> Outcome:
        """Do all of it."""
        self.fleet.wait_ready(self.client)
        self._began = time.monotonic()
        for number in range(1, self._kills + 1):
            self._kill_one(number)
        self._settle()
        self._judge()
        self._judge_lateness()
        return self.outcome

    def _kill_one(self, number: int) -> None:
        until = self._now() + self._random.uniform(0, LEADS_S)
        self._await(lambda: self._now() >= until, "a moment")
        victim = self._await(self._replaceable_leader, "a leader, and another worker to follow it")
        assert victim is not None
        self.fleet.kill(victim)
        killed = time.monotonic()
        self._killed_at.append(SYSTEM_CLOCK.now())
        self._await(lambda: self._leading() not in ("", victim.worker), "another to lead")
        self.without_s.append(time.monotonic() - killed)
        self.outcome.done["kill_leader"] += 1
        self.say(f"{self._now():6.1f}  {number}: {victim.name}, another led after {self.without_s[-1]:.1f} s")
        self.fleet.mend()

    def _replaceable_leader(self) -> Member | None:
        """Give the worker that leads, once there is another."""
        leading, alive = self._leading(), {one.name for one in self.client.workers.list() if one.alive}
        there = {member.worker: member for member in self.fleet.members if member.identity}
        return there.get(leading) if len(alive & there.keys()) > 1 else None

    def _await(self, condition: Callable[[], T], what: str) -> T:
        """Wait for something, give it, and have work done meanwhile."""
        found: list[T] = []

        def holds() -> bool:
            self._go_on()
            found[:] = [condition()]
            return bool(found[0])

        if not wait_until(holds, FOLLOWS_S):
            raise SystemExit(f"not within {FOLLOWS_S:g} s: {what}; see {self.fleet.folder}")
        return found[0]

    def _go_on(self) -> None:
        """Send what is to be sent by now."""
        while self._sent < self._now() * RATE:
            what = WORK[self._sent % len(WORK)]
            self._sent += 1
            self.do(Step(self._now(), what, 0.5, 0.4))

    def _expired(self, step: Step) -> None:
        """Submit what ends before its time comes, so that upkeep has to end it."""
        now = SYSTEM_CLOCK.now()
        soon, later = (to_datetime(round((now + seconds) * 1e6)) for seconds in (2.0, 3600.0))
        self._put(self.app.mark, 0, eta=later, expires=soon)

    def _judge_lateness(self) -> None:
        for one in filter(None, map(self._find, self.ids)):
            for due, done in waits(one):
                # Where the lead had not ended yet, a kill before it was due counts as well.
                kills = sum(due - LEASE_S <= at <= done for at in self._killed_at)
                self.late_s.append(done - due)
                if done - due > 2 * LEASE_S * max(1, kills):
                    self.outcome.broken.append(f"{one.id}: upkeep was {done - due:.1f} s late over {kills} kills")


def waits(execution: Execution) -> Iterable[tuple[float, float]]:
    """Give when upkeep had to send, or to end, an execution, and when it did."""
    for entry in execution.status_log:
        done = entry["timestamp"].timestamp()
        if execution.eta is not None and (entry["status"], entry["reason"]) == ("pending", "queued"):
            yield execution.eta.timestamp(), done
        if execution.expires is not None and entry["reason"] == "expired":
            yield execution.expires.timestamp(), done


def summary(run: Leaders) -> str:
    """Say how late everything was."""
    lines = []
    for what, found in (("another led", run.without_s), ("upkeep was late", run.late_s)):
        if found:
            ordered = sorted(found)
            p99 = ordered[int(0.99 * (len(ordered) - 1))]
            middle = statistics.median(ordered)
            lines.append(f"{what}, {len(found)} times: {middle:.2f} s (median), {p99:.2f} s (99%), {ordered[-1]:.2f} s")
    return "\n".join(lines) + "\n"


def main(given: list[str] | None = None) -> int:
    """Run once; 0 where every promise held."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.leader", description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1, help="how long each leads")
    parser.add_argument("--pools", default="threads,threads,threads", help="one worker for each")
    options = parser.parse_args(given)
    folder = Path(tempfile.mkdtemp(prefix="leader-"))
    fleet = Fleet(folder, Backend(folder), shards=4)
    try:
        os.environ.update(fleet.environ(fleet.backend.ports))  # noqa: TID251
        run = Leaders(fleet, options.kills, options.seed)
        fleet.grow(options.pools.split(","))
        outcome = run.go()
    finally:
        fleet.stop()
    show(outcome, folder)
    sys.stdout.write(summary(run))
    if not outcome.broken:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if outcome.broken else 0


if __name__ == "__main__":
    sys.exit(main())
