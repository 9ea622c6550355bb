"""The states of an execution and every move between them: one enum, one table.

`docs/reference/states.md` draws the same table; a test holds the two together.
"""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Where an execution stands."""

    PENDING = "pending"  #: accepted, not running
    RUNNING = "running"  #: owned by exactly one attempt
    SUCCESS = "success"  #: ended, with an output
    CACHED = "cached"  #: ended, with the output of another execution
    FAILED = "failed"  #: ended, with an error
    TERMINATED = "terminated"  #: ended because somebody asked; written only once the code has stopped

    @property
    def is_terminal(self) -> bool:
        """Whether nothing but a rerun follows."""
        return self in TERMINAL


TERMINAL = frozenset({Status.SUCCESS, Status.CACHED, Status.FAILED, Status.TERMINATED})


class Reason(StrEnum):
    """Why an execution has its status."""

    NONE = ""
    QUEUED = "queued"
    SCHEDULED = "scheduled"
    WAITING = "waiting"
    RETRYING = "retrying"
    RERUN = "rerun"
    STARTED = "started"
    TERMINATING = "terminating"
    ERROR = "error"
    TIMEOUT = "timeout"
    WORKER_LOST = "worker-lost"
    REJECTED = "rejected"
    UPSTREAM = "upstream"
    RESET = "reset"
    REQUESTED = "requested"
    CANCELLED = "cancelled"
    PARENT = "parent"
    EXPIRED = "expired"


#: Which reasons go with which status.
REASONS: dict[Status, frozenset[Reason]] = {
    Status.PENDING: frozenset({Reason.QUEUED, Reason.SCHEDULED, Reason.WAITING, Reason.RETRYING, Reason.RERUN}),
    Status.RUNNING: frozenset({Reason.STARTED, Reason.TERMINATING}),
    Status.SUCCESS: frozenset({Reason.NONE}),
    Status.CACHED: frozenset({Reason.NONE}),
    Status.FAILED: frozenset(
        {Reason.ERROR, Reason.TIMEOUT, Reason.WORKER_LOST, Reason.REJECTED, Reason.UPSTREAM, Reason.RESET}
    ),
    Status.TERMINATED: frozenset({Reason.REQUESTED, Reason.CANCELLED, Reason.PARENT, Reason.EXPIRED}),
}

#: Every allowed move: the verb of `registry.transitions`, from where, to where.
TRANSITIONS: frozenset[tuple[str, Status | None, Status]] = frozenset(
    {
        ("submit", None, Status.PENDING),
        ("start", Status.PENDING, Status.RUNNING),
        ("park", Status.PENDING, Status.PENDING),
        ("unpark", Status.PENDING, Status.PENDING),
        ("supply", Status.PENDING, Status.PENDING),
        ("due", Status.PENDING, Status.PENDING),
        ("succeed", Status.RUNNING, Status.SUCCESS),
        ("succeed", Status.RUNNING, Status.CACHED),
        ("fail", Status.RUNNING, Status.FAILED),
        ("fail", Status.PENDING, Status.FAILED),
        ("retry", Status.RUNNING, Status.PENDING),
        ("stop", Status.RUNNING, Status.TERMINATED),
        ("expire", Status.PENDING, Status.TERMINATED),
        ("terminate", Status.PENDING, Status.TERMINATED),
        ("terminate", Status.RUNNING, Status.RUNNING),
        ("rerun", Status.SUCCESS, Status.PENDING),
        ("rerun", Status.CACHED, Status.PENDING),
        ("rerun", Status.FAILED, Status.PENDING),
        ("rerun", Status.TERMINATED, Status.PENDING),
    }
)

#: Words that people and other systems use for ours, accepted wherever a status is read.
ALIASES: dict[str, Status] = {
    "completed": Status.SUCCESS,
    "succeeded": Status.SUCCESS,
    "in-progress": Status.RUNNING,
    "inprogress": Status.RUNNING,
    "started": Status.RUNNING,
    "created": Status.PENDING,
    "queued": Status.PENDING,
    "canceled": Status.TERMINATED,
    "cancelled": Status.TERMINATED,
    "aborted": Status.TERMINATED,
    "failure": Status.FAILED,
}


def parse_status(word: str) -> Status:
    """Read a status by its own name or an alias, in any case; raise `ValueError` for another word."""
    key = word.strip().lower()
    alias = ALIASES.get(key)
    return alias if alias is not None else Status(key)
