"""What is known of a queue from the executions that wait in it and the workers that serve it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Queue:
    """A queue as it was when it was looked at."""

    name: str
    #: Executions that wait to be started, those included that are put off, or wait for their service.
    pending: int
    running: int
    #: When the oldest one that waits was submitted.
    oldest: datetime | None
    #: Those that serve it and live.
    workers: tuple[str, ...]
