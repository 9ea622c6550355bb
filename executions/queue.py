"""What is known of a queue from the executions that wait in it and the workers that serve it."""

from __future__ import annotations

from collections.abc import Iterable
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


def most_waiting(queues: Iterable[Queue]) -> list[Queue]:
    """Put those first in which most waits."""
    return sorted(queues, key=lambda queue: (-queue.pending, queue.name))


@dataclass(frozen=True)
class Position:
    """Where the message of an execution lies in its queue, as it was when it was looked at."""

    queue: str
    #: Messages that are taken before it; where it lies further back than was looked, those that were looked at.
    ahead: int
    #: Messages in the queue.
    length: int
    #: Whether it was found; else it lies further back than was looked.
    is_found: bool = True
    #: Whether what comes later may still be taken before it: it has another priority.
    is_about: bool = False
    #: Whether a worker holds it already, to start it when a slot is free.
    is_held: bool = False

    def __str__(self) -> str:
        if self.is_held:
            return "a worker holds its message and starts it when a slot is free"
        if not self.is_found:
            return f"it lies beyond the first {self.ahead:,} of {self.length:,} messages in queue {self.queue}"
        about = "about " if self.is_about else ""
        many = "it is taken next" if not self.ahead else f"{about}{self.ahead:,} of {self.length:,} are taken before it"
        return f"{many}, from queue {self.queue}"
