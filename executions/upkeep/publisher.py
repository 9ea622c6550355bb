"""Sends messages again that were lost: popped and never started, wiped with the broker, never sent at all."""

from __future__ import annotations

import logging

from executions.parts import Parts
from executions.registry.outbox import Outbox, Waiting
from executions.telemetry import log
from executions.upkeep import Report

logger = logging.getLogger(__name__)

#: Seconds that a message may take to a worker before it counts as lost, if its queue does not explain the waiting.
LOST_AFTER_S = 20.0

#: So many times longer it may take where messages lie in its queue and the broker cannot say how old they are.
PATIENCE = 10

#: So many times longer a worker may hold a message unstarted before it is offered to others as well.
HOARDED = 3

#: Executions that one run looks at in each shard, and those that it sends again on a mere suspicion.
LOOKED_AT = 500
SUSPECTED_AT_ONCE = 50


class Publisher:
    """A message that was not lost after all is refused at its start, so sending once too often does no harm."""

    def __init__(self, parts: Parts, after_s: float = LOST_AFTER_S) -> None:
        self._parts = parts
        self._after_s = after_s
        self._outbox = Outbox(parts.space)
        #: Where the look past the oldest goes on: those of a queue without workers must not hide all others.
        self._skip = 0

    def run_once(self, now: float) -> Report:
        """Send again what has waited too long while its queue is empty, or holds nothing that is as old."""
        found = self._outbox.older_than(self._after_s, LOOKED_AT)
        further = self._outbox.older_than(self._after_s, LOOKED_AT, self._skip) if self._skip else []
        is_more = len(further if self._skip else found) >= LOOKED_AT
        self._skip = self._skip + LOOKED_AT if is_more else 0
        waiting = {one.id: one for one in (*found, *further) if self._is_due(one, now)}.values()
        lost = self._lost(list(waiting), now)
        for one in lost:
            if self._parts.dispatcher.republish(self._parts.space, one.id):
                self._outbox.touch(one.id)
                log(logger, "execution.republished", id=one.id, queue=one.queue)
        return Report(len(lost), len(waiting) - len(lost))

    def _lost(self, waiting: list[Waiting], now: float) -> list[Waiting]:
        """Choose those whose message is not in its queue any more, or has been too long on its way to be there."""
        # Looked at before the queues and after them: a message may move from one to the other in between.
        held = self._in_hands() if waiting else set()
        oldest = {queue: self._oldest_us(queue) for queue in {one.queue for one in waiting}}
        late_us = (now - PATIENCE * self._after_s) * 1_000_000
        gone = [one for one in waiting if one.since_us < oldest[one.queue]]
        held |= self._in_hands() if gone else set()
        lost = self._not_held(gone, held, oldest, now)
        late = [one for one in waiting if oldest[one.queue] == UNKNOWN and one.since_us < late_us]
        return lost + self._suspected(late)

    def _suspected(self, late: list[Waiting]) -> list[Waiting]:
        """Choose the oldest, while there is one who waits and for whom no message can be in the queue.

        A queue that holds as many messages as wait in all queues lacks none; without this end to it, what waits for
        hours would be sent again and again.
        """
        if not late:
            return []
        depth, size = self._parts.dispatcher.depth, self._outbox.size()
        short = {queue for queue in {one.queue for one in late} if depth(queue) < size}
        return [one for one in late if one.queue in short][:SUSPECTED_AT_ONCE]

    def _in_hands(self) -> set[str]:
        return self._parts.dispatcher.in_hands(self._parts.settings.namespace)

    def _not_held(self, gone: list[Waiting], held: set[str], oldest: dict[str, float], now: float) -> list[Waiting]:
        """Leave out what a worker holds. What it holds for long goes to another one too, where the queue is empty."""
        hoarded_us = (now - HOARDED * self._after_s) * 1_000_000
        return [
            one for one in gone
            if one.id not in held or (oldest[one.queue] == EMPTY and one.since_us < hoarded_us)
        ]  # fmt: skip

    def _oldest_us(self, queue: str) -> float:
        """Give since when the oldest message of a queue has been there; what waits for longer is not in it."""
        dispatcher = self._parts.dispatcher
        if dispatcher.depth(queue) == 0:
            return EMPTY
        ids = dispatcher.oldest(queue)
        # A message that nobody waits for (of another app, or a second one) tells nothing.
        return min(filter(None, (self._outbox.since_us(one) for one in ids or ())), default=UNKNOWN)

    def _is_due(self, one: Waiting, now: float) -> bool:
        return one.eta_us is None or one.eta_us / 1_000_000 + self._after_s < now


#: Later than anything, and earlier.
EMPTY, UNKNOWN = float("inf"), 0.0
