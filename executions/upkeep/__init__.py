"""The chores that make the promises true after a crash: each is `run_once(now) -> Report`."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Report:
    """What one run of a chore did, and what it left for the next."""

    done: int = 0
    left: int = 0
    notes: tuple[str, ...] = ()


class Chore(Protocol):
    """A background task as a service: bounded, and safe to run twice."""

    def run_once(self, now: float) -> Report:
        """Do one batch of it; `now` is the registry's time, in seconds since the epoch."""
