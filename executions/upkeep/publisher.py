"""Sends messages again that were lost: popped and never started, wiped with the broker, never sent at all."""

from __future__ import annotations

import logging

from executions.parts import Parts
from executions.registry.outbox import Outbox, Waiting
from executions.telemetry import log
from executions.upkeep import Report

logger = logging.getLogger(__name__)

#: Seconds that a message may take to a worker before it counts as lost, if its queue is empty.
LOST_AFTER_S = 20.0

#: Executions that one run looks at in each shard.
LOOKED_AT = 500


class Publisher:
    """A message that was not lost after all is refused at its start, so sending once too often does no harm."""

    def __init__(self, parts: Parts, after_s: float = LOST_AFTER_S) -> None:
        self._parts = parts
        self._after_s = after_s
        self._outbox = Outbox(parts.space)

    def run_once(self, now: float) -> Report:
        """Send again what has waited too long while its queue is empty."""
        waiting = [one for one in self._outbox.older_than(self._after_s, LOOKED_AT) if self._is_due(one, now)]
        depths: dict[str, int] = {}
        done = 0
        for one in waiting:
            if one.queue not in depths:
                depths[one.queue] = self._parts.dispatcher.depth(one.queue)
            # Messages that still lie in the queue explain the waiting.
            if depths[one.queue] > 0:
                continue
            if self._parts.dispatcher.republish(self._parts.space, one.id):
                self._outbox.touch(one.id)
                log(logger, "execution.republished", id=one.id, queue=one.queue)
                done += 1
        return Report(done, len(waiting) - done)

    def _is_due(self, one: Waiting, now: float) -> bool:
        return one.eta_us is None or one.eta_us / 1_000_000 + self._after_s < now
