"""Sends messages whose time has come: after an `eta`, or a pause before the next attempt.

And tells those who wait for an execution of its end, where the worker that saw it has not: docs/decisions/chords.md.

Who can die when, and what then happens:

| dies | what is left | who mends it |
|---|---|---|
| submitter, after the row | the row, in due; no message is missing yet | nobody has to |
| leader, after `due.lua` | in the outbox, and due again in five seconds | the next run, or the next leader's |
| leader, after some were sent | the same | the next run; a second message is refused at its start |
| every worker | due, however long | the first worker that comes |
| the server, and comes back | what it had saved | the next run |
"""

from __future__ import annotations

import logging

from executions.errors import Unavailable
from executions.parts import Parts
from executions.registry.outcomes import Expired, Owed, Untold
from executions.registry.schedule import Schedule
from executions.telemetry import log
from executions.upkeep import Report

logger = logging.getLogger(__name__)

#: Executions of each shard that are taken at once, and how often one run takes some.
TAKEN_AT_ONCE = 500
ROUNDS = 4


class Scheduler:
    """May run twice at once: what one has taken, the other does not get."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._schedule = Schedule(parts.space)

    def run_once(self, now: float) -> Report:
        """Send what is due. The registry's clock says what is, so `now` plays no part."""
        done = 0
        for _ in range(ROUNDS):
            due = self._schedule.due(TAKEN_AT_ONCE)
            done += self._send(due)
            if len(due) < TAKEN_AT_ONCE:
                return Report(done)
        return Report(done, left=1)

    def _send(self, due: list[str]) -> int:
        if not due:
            return 0
        outcomes = dict(zip(due, self._parts.transitions.due(due), strict=True))
        owed = {one: what for one, what in outcomes.items() if isinstance(what, Owed)}
        try:
            self._parts.dispatcher.send_owed(self._parts.space, owed)
        except Unavailable:
            raise
        except Exception:
            # One that cannot be made must not keep the others here.
            owed = {one: what for one, what in owed.items() if self._send_one(one, what)}
        self._schedule.sent(owed)
        told = {one: what for one, what in outcomes.items() if isinstance(what, Untold) and self._tell(one)}
        self._schedule.sent(told)
        return len(owed) + len(told) + sum(isinstance(what, Expired) for what in outcomes.values())

    def _tell(self, execution_id: str) -> bool:
        try:
            return self._parts.tell_followers(execution_id)
        except Unavailable:
            raise
        except Exception:
            log(logger, "upkeep.failed", chore="followers", id=execution_id, exc_info=True)
            return False

    def _send_one(self, execution_id: str, what: Owed) -> bool:
        try:
            self._parts.dispatcher.send_owed(self._parts.space, {execution_id: what})
        except Unavailable:
            raise
        except Exception as error:
            log(logger, "execution.unsendable", id=execution_id, error=error)
            self._schedule.forget(execution_id)
            return False
        return True
