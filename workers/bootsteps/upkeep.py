"""Runs the chores in whichever worker leads. Every worker tries to; a leader that dies is followed within a lease."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from executions.clock import SYSTEM_CLOCK
from executions.errors import ExecutionsError
from executions.parts import Parts
from executions.registry.leader import Leader
from executions.telemetry import Outage, log
from executions.upkeep import Chore

logger = logging.getLogger(__name__)

#: Seconds between two tries to lead, at most; with the lease they make the time that a lost leader costs.
TICK_S = 1.0


@dataclass
class _Due:
    chore: Chore
    every_s: float
    at: float = field(default=0.0)


Chores = Callable[[], list[tuple[Chore, float]]]


class UpkeepThread(threading.Thread):
    """Ticks. What a tick does is the chores' business; one that is slow delays those of its thread only."""

    def __init__(self, name: str, parts: Parts, made: Chores, term: Callable[[], str]) -> None:
        super().__init__(name=f"executions-{name}", daemon=True)
        self._parts = parts
        self._made = made
        self._term = term
        self._leader = Leader(parts.space)
        self._leaving = threading.Event()
        self._leads = False
        #: When the registry last answered here (monotonic seconds).
        self.heard: float | None = None

    def leave(self) -> None:
        """Stop after the chore at hand, and let another lead at once."""
        self._leaving.set()
        self.join(timeout=5.0)
        try:
            self._leader.release(self._term())
        except ExecutionsError:
            log(logger, "registry.unreachable", while_doing="giving the lead back")

    def run(self) -> None:
        due: list[_Due] = []
        outage = Outage(logger, "upkeep")
        while not self._leaving.wait(self._pause_s(due)):
            try:
                due = due or [_Due(chore, every_s) for chore, every_s in self._made()]
                self._run_due(due)
                outage.over()
            except ExecutionsError as error:
                outage.goes_on(error)
            except Exception:
                log(logger, "upkeep.failed", exc_info=True)

    def _pause_s(self, due: list[_Due]) -> float:
        """Give how long to rest: to the next chore where this worker leads, else to the next try for the lead."""
        pause_s = min(TICK_S, self._parts.settings.beat_s / 2)
        return min([pause_s, *(one.every_s for one in due if one.every_s)]) if self._leads else pause_s

    def _lead(self) -> float | None:
        """Take or keep the lead; give the time by the server's clock where this worker has it."""
        server_now = self._leader.claim(self._term())
        self.heard = SYSTEM_CLOCK.monotonic()
        if server_now is not None and not self._leads:
            log(logger, "upkeep.leading", term=self._term())
        self._leads = server_now is not None
        return server_now

    def _run_due(self, due: list[_Due]) -> None:
        for one in due:
            now = SYSTEM_CLOCK.monotonic()
            if now < one.at or self._leaving.is_set():
                continue
            # Asked before each: whoever was paused in the middle of a batch may find another leading.
            server_now = self._lead()
            if server_now is None:
                return
            one.at = now + one.every_s
            try:
                # Not this machine's clock: one that is a month ahead would find every retention over.
                one.chore.run_once(server_now)
            except ExecutionsError:
                log(logger, "upkeep.failed", chore=type(one.chore).__name__, exc_info=True)
