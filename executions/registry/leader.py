"""Who does upkeep: one worker at a time, for one lease at a time. Any worker can."""

from __future__ import annotations

from executions.registry import keys, scripts
from executions.registry.connection import translated
from executions.registry.space import Space


class Leader:
    """The lead, which ends by itself where its holder is gone."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._lease_ms = round(space.settings.lease_s * 1000)

    @translated
    def claim(self, term: str) -> float | None:
        """Take or keep the lead; give the server's time in seconds where this term has it."""
        reply = scripts.LEAD(self._space.client, (keys.leader(self._space.namespace),), (term, self._lease_ms))
        return int(reply) / 1_000_000 or None

    @translated
    def release(self, term: str) -> bool:
        """Give the lead back where this term has it, so that nobody has to wait for its end."""
        return bool(scripts.UNLEAD(self._space.client, (keys.leader(self._space.namespace),), (term,)))
