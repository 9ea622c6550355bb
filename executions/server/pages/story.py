"""How an execution went, as pictures: the strip of its states and the bars of its attempts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from executions.execution import Execution
from executions.server.pages.words import lasting, now, reason_word
from executions.states import TERMINAL, Status

#: Steps that the strip shows; of a longer story its beginning and its end.
_STEPS = 9

#: The width that a timeline's bars are measured in.
WIDTH = 1000.0


@dataclass(frozen=True)
class Step:
    """One state, and how long it was until it came."""

    status: str
    reason: str
    at: datetime
    attempt: int
    after: str
    left_out: int = 0


@dataclass(frozen=True)
class Bar:
    """One stretch of time: waiting, or an attempt."""

    label: str
    kind: str
    x: float
    width: float
    took: str
    at: datetime


def steps_of(execution: Execution) -> Sequence[Step]:
    """Give the states that it went through, in their order."""
    log = [entry for entry in execution.status_log if entry.get("timestamp")]
    steps = [
        Step(
            str(entry["status"]),
            str(entry["reason"] or ""),
            entry["timestamp"],
            int(entry.get("attempt") or 0),
            lasting((entry["timestamp"] - log[at - 1]["timestamp"]).total_seconds()) if at else "",
        )
        for at, entry in enumerate(log)
    ]
    if len(steps) <= _STEPS:
        return steps
    left_out = len(steps) - _STEPS + 1
    middle = steps[3 + left_out - 1]
    cut = Step(middle.status, middle.reason, middle.at, middle.attempt, "", left_out)
    return [*steps[:3], cut, *steps[3 + left_out :]]


def bars_of(execution: Execution) -> Sequence[Bar]:
    """Give its waiting and its attempts as bars along one axis."""
    spans = list(_spans(execution))
    if not spans:
        return ()
    begin = min(start for _, _, start, _ in spans)
    whole = max((max(end for *_, end in spans) - begin).total_seconds(), 1e-6)
    found = []
    for label, kind, start, end in spans:
        x = WIDTH * (start - begin).total_seconds() / whole
        wide = WIDTH * (end - start).total_seconds() / whole
        found.append(Bar(label, kind, min(x, WIDTH - 2), max(wide, 2.0), lasting((end - start).total_seconds()), start))
    return found


def _spans(execution: Execution) -> Any:
    """Give label, kind, start and end of each stretch."""
    log = [entry for entry in execution.status_log if entry.get("timestamp")]
    for at, entry in enumerate(log):
        status = Status(entry["status"])
        if status in TERMINAL:
            continue
        after = log[at + 1]["timestamp"] if at + 1 < len(log) else now()
        if status is Status.RUNNING:
            ended = str(log[at + 1]["status"]) if at + 1 < len(log) else "running"
            word = reason_word(entry["reason"])
            label = f"attempt {entry.get('attempt')}{f' ({word})' if word else ''}"
            yield label, "retried" if ended == "pending" else ended, entry["timestamp"], max(after, entry["timestamp"])
        else:
            yield reason_word(entry["reason"]) or "in queue", "wait", entry["timestamp"], max(after, entry["timestamp"])
