"""What the functions themselves say they did: one line for each step, in a file that our system knows nothing of."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import executions
from executions.execution import Execution

#: Seconds by which a line may come after the end that stopped it: it was on its way when the code was stopped.
ON_ITS_WAY_S = 0.02

#: What the log says where a worker lost its right to an attempt.
TERM_OVER = "was lost"


def true_time() -> float:
    """Give the machine's time, also where a run has moved the clock of the process."""
    return time.clock_gettime(time.CLOCK_REALTIME)


class Writer:
    """Appends lines; each is one write, so that those of many processes never mix."""

    def __init__(self, path: str) -> None:
        self._path = path

    def write(self, what: str) -> None:
        current = executions.current()
        assert current is not None
        line = {
            "id": current.id, "attempt": current.attempt, "pid": os.getpid(), "what": what,
            "wall": true_time(), "mono": time.monotonic(),
        }  # fmt: skip
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, (json.dumps(line) + "\n").encode())
        finally:
            os.close(file)


@dataclass
class Try:
    """One attempt as its function saw it."""

    begins: list[int] = field(default_factory=list)
    first: float = 0.0
    last: float = 0.0
    walls: list[float] = field(default_factory=list)


@dataclass
class Verdict:
    """What the ledger and the registry do not agree on."""

    broken: list[str] = field(default_factory=list)
    #: Older attempts that went on for a moment after their worker had lost its right: allowed, and told.
    overlaps: list[str] = field(default_factory=list)
    lines: int = 0


def read(path: Path) -> dict[str, dict[int, Try]]:
    """Read what was done, by execution and attempt."""
    found: dict[str, dict[int, Try]] = {}
    for text in path.read_text().splitlines() if path.exists() else ():
        line = json.loads(text)
        one = found.setdefault(line["id"], {}).setdefault(line["attempt"], Try())
        if line["what"] == "begin":
            one.begins.append(line["pid"])
        one.first = one.first or line["wall"]
        one.last = line["wall"]
        one.walls.append(line["wall"])
    return found


def ids(path: Path) -> set[str]:
    """Give what ran at all, of a ledger of any size."""
    with path.open() as lines:
        return {json.loads(line)["id"] for line in lines}


def judge(tries: Mapping[str, Mapping[int, Try]], executions: Iterable[Execution]) -> Verdict:
    """Hold what was done against what is on record."""
    verdict = Verdict(lines=sum(len(one.walls) for each in tries.values() for one in each.values()))
    known = {execution.id: execution for execution in executions}
    for execution_id, attempts in tries.items():
        execution = known.get(execution_id)
        if execution is None:
            verdict.broken.append(f"{execution_id}: it ran, and is not on record")
            continue
        verdict.broken += _doubled(execution, attempts)
        _after_end(execution, attempts, verdict)
        _overlapping(execution, attempts, verdict)
    return verdict


def _doubled(execution: Execution, attempts: Mapping[int, Try]) -> Iterable[str]:
    for number, one in attempts.items():
        if len(one.begins) > 1:
            yield f"{execution.id}: attempt {number} was begun by {one.begins}"
        if number > execution.attempt:
            yield f"{execution.id}: attempt {number} ran, the record knows {execution.attempt}"


def _after_end(execution: Execution, attempts: Mapping[int, Try], verdict: Verdict) -> None:
    for entry in execution.status_log:
        one = attempts.get(entry["attempt"])
        if entry["status"] == "terminated" and one is not None:
            late = one.last - entry["timestamp"].timestamp()
            if late > ON_ITS_WAY_S:
                found = f"{execution.id}: attempt {entry['attempt']} went on for {late:.2f} s after it was terminated"
                # Nobody confirmed that stop: others closed the attempt of a worker that could not be heard.
                is_over = TERM_OVER in entry["message"]
                (verdict.overlaps if is_over else verdict.broken).append(found)


def _overlapping(execution: Execution, attempts: Mapping[int, Try], verdict: Verdict) -> None:
    ends: dict[int, Any] = {}
    for entry in execution.status_log:
        if entry["status"] != "running":
            ends.setdefault(entry["attempt"], entry)
    for number, one in sorted(attempts.items()):
        later = [other.first for k, other in attempts.items() if k > number]
        if later and one.last > min(later):
            found = f"{execution.id}: attempt {number} went on for {one.last - min(later):.2f} s beside a later one"
            is_over = TERM_OVER in ends.get(number, {}).get("message", "")
            (verdict.overlaps if is_over else verdict.broken).append(found)
