"""Whether a status log can have come about: no gaps, only moves that `states.py` allows, attempts in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from executions.states import REASONS, TRANSITIONS, Reason, Status

#: Entries that are always kept, the first ones, and how many are kept in all; `lua/_prelude.lua` has the same.
LOG_FIRST, LOG_CAP = 20, 500

_MOVES = frozenset((before, after) for _, before, after in TRANSITIONS)


@dataclass(frozen=True)
class Entry:
    """One entry, as far as it can be judged."""

    status: Status
    reason: Reason
    at_us: int
    attempt: int


def expected_entries(length: int) -> list[int]:
    """Give the numbers of the entries that a log of this length has."""
    first = min(length, LOG_FIRST)
    return [*range(1, first + 1), *range(max(first, length - LOG_CAP + LOG_FIRST) + 1, length + 1)]


def read_entry(text: str) -> Entry:
    """Read an entry; raises `ValueError` for what is none."""
    state, at_us, attempt, *_ = text.split("|", 4)
    status, _, reason = state.partition("/")
    return Entry(Status(status), Reason(reason), int(at_us), int(attempt))


def judge_log(texts: Mapping[int, str], length: int, now: tuple[str, str, int]) -> str:
    """Say what is wrong with a log, beside the record's status, reason and attempt; nothing where it is well."""
    wanted = expected_entries(length)
    missing = [number for number in wanted if number not in texts]
    if missing or not wanted:
        return f"entry {missing[0]} of {length} is missing" if missing else "it has no status log"
    try:
        entries = {number: read_entry(texts[number]) for number in wanted}
    except ValueError:
        return "an entry of its status log cannot be read"
    first, last = entries[1], entries[length]
    if (first.status, first.attempt) != (Status.PENDING, 0):
        return f"its status log begins with {first.status}, attempt {first.attempt}"
    for number in wanted:
        before, entry = entries.get(number - 1), entries[number]
        wrong = _wrong_reason(entry) or (_wrong_move(before, entry) if before else "")
        if wrong:
            return f"entry {number}: {wrong}"
    if (last.status, last.reason, last.attempt) != now:
        return f"its last entry says {_words(last)}, the record {now[0]}/{now[1]}, attempt {now[2]}"
    return ""


def _wrong_reason(entry: Entry) -> str:
    return "" if entry.reason in REASONS[entry.status] else f"{entry.status} has no reason {entry.reason}"


def _wrong_move(before: Entry, entry: Entry) -> str:
    move = f"{_words(before)} then {_words(entry)}"
    if (before.status, entry.status) not in _MOVES:
        return f"{move} is no move"
    if before.status.is_terminal and entry.reason is not Reason.RERUN:
        return f"{move}: an end is followed by a rerun only"
    if entry.status is Status.RUNNING and before.status is Status.RUNNING and entry.reason is not Reason.TERMINATING:
        return f"{move}: it started twice"
    starts = entry.status is Status.RUNNING and before.status is Status.PENDING
    if entry.attempt != before.attempt + (1 if starts else 0):
        return f"{move}: attempts out of order"
    return ""


def _words(entry: Entry) -> str:
    return f"{entry.status}/{entry.reason}, attempt {entry.attempt}"
