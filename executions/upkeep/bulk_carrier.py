"""Carries on bulks whose carrier died, or that were started where nobody stays to carry them out."""

from __future__ import annotations

from executions.client import Client
from executions.parts import Parts
from executions.upkeep import Report

#: Seconds that one run takes at most, more or less: other chores wait for it.
SPELL_S = 0.5


class BulkCarrier:
    """May run twice at once: one of them holds a bulk, and what was done already is not done again."""

    def __init__(self, parts: Parts) -> None:
        self._client = Client(parts)

    def run_once(self, now: float) -> Report:
        """Carry on each bulk that nobody else does."""
        return Report(0, self._client.bulk.carry_on(SPELL_S))
