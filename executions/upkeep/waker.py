"""Keeps services moving: slots of the dead come back, what waits is sent on, what ended while it waited is let go."""

from __future__ import annotations

from typing import Any

from executions import parking
from executions.parts import Parts
from executions.registry.connection import translated
from executions.registry.transitions import expired as expired_ending
from executions.service import ServiceState
from executions.states import Reason, Status
from executions.upkeep import Report

#: Executions that one run looks at for each service.
LOOKED_AT = 200


class Waker:
    """One chore for all services. May run twice at once: each step is refused where it was done already."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def run_once(self, now: float) -> Report:
        """Look at each service once."""
        done, notes = 0, []
        for state in self._parts.services.all():
            reclaimed = self._parts.services.reclaim(state.name)
            if reclaimed:
                notes.append(f"{state.name}: {reclaimed} slots taken back")
            adopted = parking.count_running(self._parts, state)
            if adopted:
                notes.append(f"{state.name}: {adopted} from before its limit counted")
            done += reclaimed + adopted + self._look(state, now)
        return Report(done, 0, tuple(notes))

    def _look(self, state: ServiceState, now: float) -> int:
        services, name = self._parts.services, state.name
        chosen = services.parked(name, chosen=True, limit=LOOKED_AT)
        parked = services.parked(name, limit=LOOKED_AT)
        if not (chosen or parked):
            return 0
        records = self._records([*chosen, *parked])
        gone = [one for one, (status, *_) in records.items() if status != Status.PENDING]
        expired = [one for one, (status, _, by) in records.items() if status == Status.PENDING and by and by < now]
        for one in expired:
            self._parts.transitions.settle(one, expired_ending("expired while it waited for its service"))
        services.unpark(name, [*gone, *expired])
        if state.paused:
            return len(gone) + len(expired)
        # Chosen, but its record was never told: whoever chose it died on the way.
        stranded = [
            one for one in chosen if records[one][:2] == (Status.PENDING, Reason.WAITING) and one not in expired
        ]
        parking.send_on(self._parts, name, stranded)
        return len(gone) + len(expired) + len(stranded) + parking.wake(self._parts, name)

    @translated
    def _records(self, execution_ids: list[str]) -> dict[str, tuple[Any, Any, float | None]]:
        """Give status, reason and end of validity (in seconds) of executions."""
        space = self._parts.space
        pipeline = space.client.pipeline(transaction=False)
        for one in execution_ids:
            pipeline.hmget(space.keys(one).record(one), "st", "rs", "ex")
        found = {}
        for one, (status, reason, expires) in zip(execution_ids, pipeline.execute(), strict=True):
            by = int(expires) / 1_000_000 if expires else None
            found[one] = (status.decode() if status else None, reason.decode() if reason else None, by)
        return found
