"""What a transition answers: what it did, or what it found in place of what it expected."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from executions.errors import NotFound
from executions.states import Reason, Status

#: Seconds after which a message that was owed, and of which nobody said that it was sent, is owed again.
OWED_AGAIN_S = 5


@dataclass(frozen=True)
class Accepted:
    """The execution is new."""

    #: Its number within its shard.
    number: int
    created_us: int
    #: When it may start, where that lies ahead: its message is sent then, by the scheduler.
    eta_us: int | None = None


@dataclass(frozen=True)
class Found:
    """There is such an execution already, or it is not in the state that was expected."""

    status: Status
    reason: Reason
    attempt: int


@dataclass(frozen=True)
class Missing:
    """There is no such execution."""


@dataclass(frozen=True)
class Again:
    """The same bulk has done this before, so it was not done again."""


@dataclass(frozen=True)
class Expired:
    """The execution waited too long and has been closed."""


@dataclass(frozen=True)
class Started:
    """The attempt is ours."""

    attempt: int
    options: dict[str, Any]
    created_us: int
    state: str
    payload: str
    started_us: int


@dataclass(frozen=True)
class Ended:
    """The execution has ended, now."""

    at_us: int


@dataclass(frozen=True)
class Opened:
    """The execution waits for its next attempt."""

    attempt: int
    #: When it may start, where that lies ahead: its message is sent then, by the scheduler.
    eta_us: int | None = None


@dataclass(frozen=True)
class Owed:
    """Its message is to be sent now, and is owed again at this time unless somebody says that it was sent."""

    attempt: int
    again_us: int


@dataclass(frozen=True)
class Untold:
    """It has ended, and who waits for it may not know; to be looked at again at this time unless they were told."""

    again_us: int


@dataclass(frozen=True)
class StopFirst:
    """Somebody asked for the execution to stop: it must not be tried again."""


@dataclass(frozen=True)
class Poison:
    """So many attempts ended by a lost worker that it must not be tried again."""

    losses: int


@dataclass(frozen=True)
class Cancelled:
    """The execution was waiting and is terminated."""


@dataclass(frozen=True)
class Asked:
    """The execution is running; its worker has to stop it."""

    worker: str
    attempt: int


def found_or_raise(outcome: Any, execution_id: str) -> Any:
    """Give the outcome, or raise `NotFound` where there is no such execution."""
    if isinstance(outcome, Missing):
        raise NotFound(f"no execution {execution_id!r}: the id is unknown or it was removed after its retention")
    return outcome


def read_found(reply: list[Any]) -> Found:
    """Read the state that a script found in place of the one it needs."""
    return Found(Status(reply[1].decode()), Reason(reply[2].decode()), int(reply[3]))


def read_started(reply: list[Any]) -> Started | Found | Missing | Expired:
    """Read the answer of the script that starts."""
    if reply[0] == b"ok":
        _, number, options, created, state, payload, started = reply
        chosen = json.loads(options) if options else {}
        return Started(number, chosen, int(created), state.decode(), payload.decode(), int(started))
    if reply[0] == b"expired":
        return Expired()
    return Missing() if reply[0] == b"missing" else read_found(reply)


def read_ended(reply: list[Any]) -> Ended | Found | Missing:
    """Read the answer of a script that ends."""
    if reply[0] == b"ok":
        return Ended(int(reply[1]))
    return Missing() if reply[0] == b"missing" else read_found(reply)


def read_stopped(reply: list[Any]) -> Cancelled | Asked | Found | Missing | Again:
    """Read the answer of the script that stops."""
    if reply[0] == b"terminated":
        return Cancelled()
    if reply[0] == b"asked":
        return Asked(reply[1].decode(), int(reply[2]))
    if reply[0] == b"again":
        return Again()
    return Missing() if reply[0] == b"missing" else read_found(reply)


def read_annotated(reply: list[Any]) -> Found | Missing | Again | None:
    """Read the answer of the script that writes what is said about an execution."""
    if reply[0] in (b"ok", b"again"):
        return Again() if reply[0] == b"again" else None
    return Missing() if reply[0] == b"missing" else read_found(reply)


def read_reopened(reply: list[Any]) -> Opened | Found | Missing | Again:
    """Read the answer of the script that runs something once more."""
    return Again() if reply[0] == b"again" else read_opened(reply)


def read_opened(reply: list[Any]) -> Opened | Found | Missing:
    """Read the answer of a script that makes wait."""
    if reply[0] == b"ok":
        return Opened(int(reply[1]), int(reply[2]) if len(reply) > 2 else None)
    return Missing() if reply[0] == b"missing" else read_found(reply)


def read_owed(reply: list[Any]) -> Owed | Untold | Expired | Found | Missing:
    """Read the answer of the script that takes what is due."""
    if reply[0] == b"ok":
        return Owed(int(reply[1]), int(reply[2]))
    if reply[0] == b"ended":
        return Untold(int(reply[1]))
    if reply[0] == b"expired":
        return Expired()
    return Missing() if reply[0] == b"missing" else read_found(reply)
