"""Where time comes from, so that tests can replace it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the library asks of a clock."""

    def now(self) -> float:
        """Return seconds since the epoch."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass
class ManualClock:
    """A clock that moves only when told to."""

    at: float = 1_700_000_000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self.at += seconds


SYSTEM_CLOCK = SystemClock()


def to_datetime(us: int | None) -> datetime | None:
    """Turn microseconds since the epoch into an aware UTC time."""
    return None if us is None else datetime.fromtimestamp(us / 1_000_000, UTC)


def to_us(moment: datetime) -> int:
    """Turn a time into microseconds since the epoch; a naive time is taken as UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1_000_000)
