"""Carries stops out: the checkpoint's flag, then an exception, then a kill, each at its time.

Each tick looks at the slots, which is reading a little shared memory; nothing is asked of any server.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from executions.registry.workers import StopCommand
from executions.settings import Settings
from executions.slots import Seen, Slots, Stop, token_of
from executions.telemetry import log
from workers.pools import Pool

logger = logging.getLogger(__name__)

#: Seconds between two exceptions raised in code that goes on after the first.
REPEAT_S = 1.0

#: Seconds from the reset of a service, or the end of a worker's patience, to the exception in the code that it
#: ends, and to the kill: an update by force is done within two seconds.
RESET_SOFT_S = 0.3
RESET_KILL_S = 1.0


@dataclass
class Pending:
    """A stop on its way."""

    token: int
    kind: Stop
    soft_at: float
    kill_at: float | None
    execution_id: str = ""
    interrupted: int = 0
    given_up: bool = False


class Stopper:
    """Knows which executions of this worker have to stop, and how far each stop has come."""

    def __init__(
        self,
        slots: Slots,
        pool: Pool,
        settings: Settings,
        *,
        on_kill: Callable[[Seen, Stop], None],
        on_stuck: Callable[[Seen, Stop], None],
    ) -> None:
        self._slots = slots
        self._pool = pool
        self._settings = settings
        self._on_kill = on_kill
        self._on_stuck = on_stuck
        self._pending: dict[int, Pending] = {}

    def ask(self, command: StopCommand, now: float) -> None:
        """Begin to stop an execution, or hurry a stop that has begun."""
        token = token_of(command.id, command.attempt)
        soft_at, kill_at = self._times(command.mode, command.grace_s, now)
        known = self._pending.get(token)
        if known is not None and known.kind is Stop.LOST:
            return
        if known is not None and known.kind is not Stop.RESET:
            known.soft_at = min(known.soft_at, soft_at)
            known.kill_at = min(filter(None, (known.kill_at, kill_at)), default=None)
        else:
            self._begin(Pending(token, Stop.TERMINATE, soft_at, kill_at, command.id))
        self.tick(now)

    def reset(self, token: int, now: float) -> bool:
        """Begin to end an execution because its service was updated; a stop that has begun goes on as it is."""
        if token in self._pending:
            return False
        self._begin(Pending(token, Stop.RESET, now + RESET_SOFT_S, now + RESET_KILL_S))
        return True

    def drain_all(self, now: float) -> None:
        """End what runs, because the worker does; a stop that has begun goes on as it is."""
        for seen in self._slots.seen():
            if seen.token not in self._pending:
                self._begin(Pending(seen.token, Stop.DRAIN, now + RESET_SOFT_S, now + RESET_KILL_S))

    def lose_all(self, now: float) -> None:
        """End everything at once: the worker's term is over, and others may run all of it by now."""
        for seen in self._slots.seen():
            self._begin(Pending(seen.token, Stop.LOST, now, now))
        self.tick(now)

    def tick(self, now: float) -> None:
        """Look at what runs: flag deadlines, raise, kill, forget what has ended."""
        occupied = {seen.token: seen for seen in self._slots.seen()}
        for token in self._pending.keys() - occupied.keys():
            del self._pending[token]
        for seen in occupied.values():
            self._check_limits(seen, now)
            pending = self._pending.get(seen.token)
            if pending is not None:
                self._carry_on(pending, seen, now)

    def _times(self, mode: str, grace_s: float | None, now: float) -> tuple[float, float | None]:
        if mode == "force":
            return now, now
        if mode == "soft":
            return now, now + self._settings.grace_s
        if grace_s is not None:
            return now + min(self._settings.soft_after_s, grace_s / 2), now + grace_s
        return now + self._settings.soft_after_s, now + self._settings.grace_s

    def _check_limits(self, seen: Seen, now: float) -> None:
        now_ns = round(now * 1e9)
        known = self._pending.get(seen.token)
        if seen.deadline_ns and seen.deadline_ns <= now_ns and (known is None or known.kind is Stop.SOFT_TIME_LIMIT):
            # Code that does not check is interrupted a moment later, code that goes on is killed.
            self._begin(Pending(seen.token, Stop.TIMEOUT, now + 0.5, now + self._settings.soft_after_s))
        elif seen.soft_deadline_ns and seen.soft_deadline_ns <= now_ns and known is None:
            self._begin(Pending(seen.token, Stop.SOFT_TIME_LIMIT, now, None))

    def _begin(self, pending: Pending) -> None:
        self._pending[pending.token] = pending
        seen = self._slots.find(pending.token)
        if seen is None:
            return
        self._slots.ask_to_stop(seen.index, pending.token, pending.kind)
        if seen.is_async:
            self._pool.wake(seen)

    def _carry_on(self, pending: Pending, seen: Seen, now: float) -> None:
        if pending.kill_at is not None and now >= pending.kill_at:
            self._kill(pending, seen)
        elif now >= pending.soft_at and not (pending.kind is Stop.SOFT_TIME_LIMIT and pending.interrupted):
            pending.soft_at = now + REPEAT_S
            self._pool.interrupt(seen, pending.kind, pending.interrupted > 0)
            pending.interrupted += 1

    def _kill(self, pending: Pending, seen: Seen) -> None:
        if self._pool.has_children:
            self._on_kill(seen, pending.kind)
            log(logger, "execution.killed", token=pending.token, pid=seen.pid, why=pending.kind.name.lower())
            self._pool.kill(seen)
            pending.kill_at = None
            pending.soft_at = float("inf")
            return
        if not pending.given_up:
            pending.given_up = True
            log(logger, "execution.uninterruptible", token=pending.token)
            self._on_stuck(seen, pending.kind)
        # What can be raised is raised again and again: the code may come back from its blocking call.
        if now_due(pending):
            self._pool.interrupt(seen, pending.kind, pending.interrupted > 0)
            pending.interrupted += 1


def now_due(pending: Pending) -> bool:
    """Whether an exception is worth raising once more."""
    return pending.kind is not Stop.SOFT_TIME_LIMIT
