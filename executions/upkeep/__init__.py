"""The chores that make the promises true after a crash: each is `run_once(now) -> Report`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Report:
    """What one run of a chore did, and what it left for the next."""

    done: int = 0
    left: int = 0
    notes: tuple[str, ...] = ()
