"""What a run will do to its fleet, and when: all of it follows from the seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

#: What happens -> how often, beside the others.
FAULTS = {
    "kill_child": 6,
    "kill_worker": 4,
    "kill_leader": 2,
    "pause_worker": 4,
    "restart_server": 2,
    "cut": 6,
    "cut_within": 6,
    "silence": 4,
    "slow": 2,
    "roll": 3,
    "move_clock": 3,
    "rerun": 8,
    "terminate": 14,
}

#: What is submitted -> how often.
WORK = {
    "work": 10, "once": 3, "stubborn": 3, "late": 2, "shaky": 4, "hungry": 1, "press": 5, "eta": 3, "expiring": 2,
    "chain": 2, "group": 2, "chord": 2,
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One thing to do, so many seconds after the beginning."""

    at_s: float
    what: str
    #: Numbers between 0 and 1: which worker, which execution, how long.
    which: float
    much: float


def make_plan(seed: int, seconds: float, *, faults_per_s: float = 0.8, work_per_s: float = 6.0) -> list[Step]:
    """Give the whole run."""
    rng = random.Random(seed)
    steps = []
    for table, per_s in ((FAULTS, faults_per_s), (WORK, work_per_s)):
        at_s = 0.0
        while per_s and (at_s := at_s + rng.expovariate(per_s)) < seconds:
            (what,) = rng.choices(list(table), list(table.values()))
            steps.append(Step(at_s, what, rng.random(), rng.random()))
    return sorted(steps, key=lambda step: step.at_s)
