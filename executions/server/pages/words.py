"""How the pages say things: statuses, times, lengths, values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from executions.clock import SYSTEM_CLOCK
from executions.columns import Kind, find_column
from executions.execution import Execution, human_duration
from executions.states import Reason, Status

#: What a status is called on a page.
STATUS_WORDS = {status: status.value.capitalize() for status in Status} | {Status.SUCCESS: "Completed"}

#: Reasons that say more than their status does, as they stand beside it.
_REASON_WORDS = {
    Reason.SCHEDULED: "scheduled",
    Reason.WAITING: "waiting",
    Reason.RETRYING: "retrying",
    Reason.RERUN: "rerun",
    Reason.TERMINATING: "stopping",
    Reason.TIMEOUT: "timed out",
    Reason.WORKER_LOST: "worker lost",
    Reason.REJECTED: "rejected",
    Reason.UPSTREAM: "upstream failed",
    Reason.RESET: "reset",
    Reason.CANCELLED: "cancelled",
    Reason.PARENT: "with its parent",
    Reason.EXPIRED: "expired",
}

#: Characters of one value that a page shows; the JSON document has all of it.
VALUE_LENGTH = 20_000

#: Characters of a value in a list.
_CELL = 200

_STEPS = ((60, 1, "s"), (3600, 60, " min"), (86_400, 3600, " h"), (10**12, 86_400, " d"))


def now() -> datetime:
    """Give the time of this machine, for what is said relative to it."""
    return datetime.fromtimestamp(SYSTEM_CLOCK.now(), UTC)


def status_word(status: str) -> str:
    """Name a status."""
    return STATUS_WORDS[Status(status)]


def reason_word(reason: str) -> str:
    """Name a reason where it says more than the status; empty otherwise."""
    return _REASON_WORDS.get(Reason(reason), "")


def utc(moment: datetime | None, parts: str = "seconds") -> str:
    """Write a time in UTC, for people."""
    return "" if moment is None else moment.astimezone(UTC).isoformat(" ", parts).replace("+00:00", "") + " UTC"


def iso(moment: datetime | None) -> str:
    """Write a time for machines."""
    return "" if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def ago(moment: datetime | None) -> str:
    """Say how long ago something was, or in how long it will be."""
    if moment is None:
        return ""
    seconds = (now() - moment).total_seconds()
    if abs(seconds) < 1:
        return "now"
    length = rough(abs(seconds))
    return f"{length} ago" if seconds > 0 else f"in {length}"


def rough(seconds: float) -> str:
    """Write a length in its largest unit."""
    for below, unit, word in _STEPS:
        if seconds < below:
            return f"{int(seconds // unit)}{word}"
    return ""


def took(execution: Execution) -> str:
    """Write how long an attempt took, or has been running."""
    if execution.duration is not None and execution.started is not None:
        return lasting(execution.duration)
    if execution.status is Status.RUNNING and execution.started is not None:
        return human_duration(max(0.0, (now() - execution.started).total_seconds()))
    return ""


def lasting(seconds: float | None) -> str:
    """Write a length of time; below a second in milliseconds."""
    if seconds is None:
        return ""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else human_duration(seconds).replace(".00s", "s")


def limit(seconds: int | None) -> str:
    """Write a length that somebody set: `1h` and not `1h 0m 0s`."""
    return (
        "" if seconds is None else human_duration(seconds).removesuffix(" 0s").removesuffix(" 0m").replace(".00s", "s")
    )


def plain(value: Any) -> str:
    """Write a value as text: a text as it is, everything else as JSON; what is very long is cut and says so."""
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False, default=str)
    if len(text) <= VALUE_LENGTH:
        return text
    return f"{text[:VALUE_LENGTH]}\n... {len(text) - VALUE_LENGTH:,} more characters"


def share(value: float | None) -> str:
    """Write a share in percent; what is close to none or to all is not written as if it were."""
    if value is None:
        return "-"
    return f"{100 * value:.0f}%" if value in (0, 1) or 0.1 <= value <= 0.9 else f"{100 * value:.1f}%"


def pace(per_second: float) -> str:
    """Write how many there are in a time, by the unit that gives a readable number."""
    for times, word in ((1, "s"), (60, "min"), (3600, "h")):
        if per_second * times >= 1:
            return (
                f"{per_second * times:,.3g}/{word}"
                if per_second * times < 1000
                else f"{per_second * times:,.0f}/{word}"
            )
    return f"{per_second * 86_400:.3g}/day"


def number(value: int) -> str:
    """Write a whole number."""
    return f"{value:,}"


def some(number: int, noun: str, plural: str = "") -> str:
    """Write a number with its noun."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def title(execution: Execution) -> str:
    """Give the part of a function's name that tells it apart, or the execution's own name."""
    return execution.name or execution.function.rpartition(".")[2]


def ends(execution: Execution) -> int:
    """Count how often it has ended, so that a page can tell whether it was rerun since; a retry is no end."""
    return sum(Status(entry["status"]).is_terminal for entry in execution.status_log)


def column_class(name: str) -> str:
    """Give the class of a column, by which narrow windows leave out what matters less."""
    known = {"number": "c-id num", "pipeline": "c-place", "attempt": "c-try num", "duration": "c-took num"}
    column = find_column(name)
    usual = "c-when num" if column.kind is Kind.TIME else "num" if column.kind in (Kind.NUMBER, Kind.SECONDS) else ""
    return known.get(name) or (f"{usual} c-{name}" if column.kind is not Kind.ANY else usual).strip()


def cell(value: Any) -> str:
    """Write a value on one line, as a list has room for it."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return " ".join(text.split())[:_CELL]


#: What templates may call; filters of the same name.
FILTERS: Mapping[str, Any] = {
    "status_word": status_word,
    "reason_word": reason_word,
    "utc": utc,
    "iso": iso,
    "ago": ago,
    "took": took,
    "lasting": lasting,
    "share": share,
    "pace": pace,
    "limit": limit,
    "plain": plain,
    "number": number,
    "some": some,
    "title_of": title,
    "ends": ends,
    "column": find_column,
    "cell": cell,
    "column_class": column_class,
}
