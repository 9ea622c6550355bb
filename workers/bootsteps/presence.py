"""The worker's right to run things: a term, renewed by beats, and a new one where the old was declared over."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

from executions.celery.site import Place, Site
from executions.errors import ExecutionsError
from executions.registry.workers import StopCommand, parse_term
from executions.telemetry import log
from executions.upkeep.contact import Contact
from executions.version import VERSION

logger = logging.getLogger(__name__)

#: Seconds to the next try after a beat that failed.
AGAIN_S = 0.2


class Presence:
    """Beats, and tells when the term is over. All times are of the monotonic clock."""

    def __init__(self, site: Site, place: Place, worker: Any, on_over: Callable[[float], None]) -> None:
        self._site = site
        self._place = place
        self._worker = worker
        self._on_over = on_over
        self._client: Any = None
        self.contact = Contact(site.settings)
        self._begin()

    def _begin(self) -> None:
        self.term = self._place.new_term()
        self._beat_at = 0.0
        #: When the last beat that was answered was sent; nothing before the first.
        self.renewed: float | None = None
        # Nothing starts before the first beat has been answered.
        self._place.slots.hold(parse_term(self.term)[1], 0)

    def beat(self, now: float) -> list[StopCommand]:
        """Beat if it is time to; give what has to stop. After a pause of the whole process it is time at once."""
        if now < self._beat_at:
            return []
        lease_s = self._site.settings.lease_s
        self._beat_at = now + AGAIN_S
        self._client = self._client or self._site.workers.own_client()
        # Shorter than a lease ago nobody can have declared it over, whatever the server remembers.
        anew = self.renewed is None or now - self.renewed < lease_s
        try:
            answer = self._site.workers.beat(self.term, self._facts(), anew=anew, client=self._client)
        except ExecutionsError:
            self.contact.broken()
            raise
        self.contact.heard(now, answer.now_us)
        if not answer.stands:
            log(logger, "worker.term_over", term=self.term)
            self._on_over(now)
            self._begin()
            return []
        self._beat_at = now + self._site.settings.beat_s
        self.renewed = now
        self._place.slots.hold(parse_term(self.term)[1], round((now + lease_s) * 1e9))
        return answer.stops

    def in_touch(self, now: float) -> bool:
        """Whether the registry has answered within a lease."""
        return self.renewed is not None and now - self.renewed <= self._site.settings.lease_s

    def soon(self) -> None:
        """Beat at the next chance, since there is news."""
        self._beat_at = 0.0

    def leave(self) -> None:
        """Leave the fleet; what still runs may be rescued at once."""
        try:
            if self._place.slots.seen():
                self._site.workers.give_up(self.term)
            else:
                self._site.workers.resign(self.term)
        except ExecutionsError:
            log(logger, "registry.unreachable", while_doing="resign")

    def _facts(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "pid": os.getpid(),
            "pool": self._place.pool,
            "concurrency": getattr(self._worker, "concurrency", None),
            "queues": sorted(self._worker.app.amqp.queues.consume_from),
            "running": len(self._place.slots.seen()),
            "draining": self._place.slots.draining,
            "stalled": self._place.stalled,
        }
