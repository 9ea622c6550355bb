"""The execution that the calling code is part of: checkpoints, progress, metrics, saved state.

Outside an execution every helper here does nothing, so functions stay plain and testable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

from executions.errors import InvalidInput, Reset, Terminated, TimedOut
from executions.slots import KIND, STOP, WIDTH, Slots, Stop

TERMINATION_MESSAGE = "Execution received termination signal"
TIMEOUT_MESSAGE = "Execution stopped due to runner timeout"
RESET_MESSAGE = "Execution stopped due to a reset of its service"
DRAIN_MESSAGE = "Execution stopped because its worker shuts down"
LOST_MESSAGE = "Execution stopped because the lease of its worker ran out: another may run it by now"


class ForcedStop(BaseException):
    """Ends a function that went on after `Terminated` or `TimedOut`; `except Exception` does not hold it."""


class Reporter(Protocol):
    """Where the helpers' words go; the registry, in a worker."""

    def progress(self, percent: int | None, message: str | None, output: Any) -> None: ...
    def metric(self, name: str, value: float, step: int | None) -> None: ...
    def set_property(self, key: str, value: Any) -> None: ...
    def add_tag(self, tag: str) -> None: ...
    def save_state(self, state: Any) -> None: ...
    def load_state(self) -> Any: ...


@dataclass
class Running:
    """One attempt while its function runs."""

    id: str
    attempt: int
    function: str
    slots: Slots
    slot: int
    token: int
    reporter: Reporter
    #: The first of those that led to this one, which names itself.
    root_id: str = ""
    #: What a stop says besides its fixed sentence: the cause, or the name of the limit.
    explain: Callable[[Stop], str] = lambda kind: ""
    #: Celery's own exception for its soft limit, so that this module need not know Celery.
    soft_limit_error: type[Exception] = TimedOut
    #: Set once a stop has been raised: the function knows, and cannot end as a success any more.
    stopped: Stop = Stop.NONE
    #: The time limit in force, in seconds, for messages.
    limit_s: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cells = self.slots.cells
        self.stop_cell = self.slot * WIDTH + STOP

    def check(self) -> None:
        """Raise if this attempt was asked to stop; every time, until the code has stopped."""
        if self.cells[self.stop_cell] == self.token:
            self.raise_stop(Stop(self.cells[self.slot * WIDTH + KIND]))

    def raise_stop(self, kind: Stop) -> None:
        """Raise what tells the function to stop."""
        raise self.stop_error(kind)

    def stop_error(self, kind: Stop) -> Exception:
        """Make the exception that tells the function to stop."""
        if kind is Stop.SOFT_TIME_LIMIT:
            # Celery's soft limit is a warning that the function may handle and go on from: said once.
            self.cells[self.stop_cell] = 0
            return self.soft_limit_error()
        self.stopped = kind
        if kind is Stop.LOST:
            return Terminated(LOST_MESSAGE)
        if kind is Stop.DRAIN:
            return Reset(DRAIN_MESSAGE)
        detail = self.explain(kind)
        if kind is Stop.TIMEOUT:
            return TimedOut(_sentence(TIMEOUT_MESSAGE, detail))
        if kind is Stop.RESET:
            return Reset(_sentence(RESET_MESSAGE, detail))
        return Terminated(_sentence(TERMINATION_MESSAGE, detail))


def check_before_sending() -> None:
    """Raise in a function that was asked to stop and has not been told yet: it must not start others.

    Once it knows, it may: what cleans up after it, for one.
    """
    running = _current.get()
    if running is not None and not running.stopped:
        running.check()


def _sentence(start: str, detail: str) -> str:
    return f"{start}: {detail}" if detail else start


_current: ContextVar[Running | None] = ContextVar("executions_current", default=None)

enter = _current.set
leave = _current.reset


def running() -> Running | None:
    """Give the attempt that the calling code is part of, for the library's own use."""
    return _current.get()


def checkpoint() -> None:
    """Stop here if somebody asked for it or the time is up; otherwise do nothing, at next to no cost.

    Raises `Terminated` or `TimedOut`, and raises again at every next checkpoint until the code has stopped.
    """
    now = _current.get()
    if now is not None and now.cells[now.stop_cell]:
        now.check()


async def acheckpoint() -> None:
    """The checkpoint of a coroutine; gives other coroutines a turn as well."""
    await asyncio.sleep(0)
    checkpoint()


@dataclass(frozen=True)
class Current:
    """Who is running: for log lines, file names, idempotency keys."""

    id: str
    attempt: int
    function: str


def current() -> Current | None:
    """Give the current execution's id, attempt and function; `None` outside one."""
    now = _current.get()
    return None if now is None else Current(now.id, now.attempt, now.function)


class Progress:
    """Reports progress; injected into a service's function that has a parameter `progress`."""

    def update(self, progress: float | None = None, message: str | None = None, output: Any = None) -> None:
        """Set the percentage (0 to 100), a message, or an early output; what is left out stays as it was."""
        now = _current.get()
        percent = None if progress is None else check_percent(progress)
        if now is not None:
            now.reporter.progress(percent, message, output)


def progress(percent: float, message: str | None = None) -> None:
    """Say how far the current execution is: a number from 0 to 100 and, if wanted, a message."""
    Progress().update(percent, message)


def log_metric(name: str, value: float, step: int | None = None) -> None:
    """Add one point to a step metric of the current execution."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInput(f"metric {name!r} must be a number, not {value!r}")
    now = _current.get()
    if now is not None:
        now.reporter.metric(name, value, step)


def set_property(key: str, value: Any) -> None:
    """Set a property of the current execution; the value may be anything that is JSON."""
    now = _current.get()
    if now is not None:
        now.reporter.set_property(key, value)


def add_tag(tag: str) -> None:
    """Add a tag to the current execution."""
    now = _current.get()
    if now is not None:
        now.reporter.add_tag(tag)


def save_state(state: Any) -> None:
    """Keep something for the next attempt; it is stored when this returns."""
    now = _current.get()
    if now is not None:
        now.reporter.save_state(state)


def load_state(default: Any = None) -> Any:
    """Give what an earlier attempt (or this one) saved last, or the default."""
    now = _current.get()
    if now is None:
        return default
    found = now.reporter.load_state()
    return default if found is None else found


def check_percent(value: float) -> int:
    """Accept a number from 0 to 100."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        raise InvalidInput(f"progress must be a number from 0 to 100, not {value!r}")
    return int(value)
