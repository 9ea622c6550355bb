"""The child processes of a prefork worker: which has ended, how, and what becomes of what it ran."""

from __future__ import annotations

from typing import Any

from celery.worker import state

from executions.celery.losses import settle_loss
from executions.celery.site import Place, Site
from executions.dispatch import HEADER
from executions.slots import Seen, token_of
from workers.processes import OutOfMemory, Watched


class Children:
    """Looks at those that run something. Celery's own notice of a lost child takes seconds."""

    def __init__(self, site: Site, place: Place, worker: Any) -> None:
        self._site = site
        self._place = place
        self._worker = worker
        self._watched = Watched()
        self._out_of_memory = OutOfMemory()
        #: Children that ended, and whose end the pool had collected when that was seen.
        self._collected: set[int] = set()

    def look(self) -> None:
        """Record the ends of those that were lost since the last look."""
        occupied = self._place.slots.seen()
        self._watched.watch({seen.pid for seen in occupied})
        ended = self._watched.ended()
        for seen in occupied:
            if seen.pid not in ended:
                continue
            if ended[seen.pid] is None and seen.pid not in self._collected:
                # The pool has collected it and is about to say how it ended, which only it knows.
                self._collected.add(seen.pid)
                continue
            self._lost(seen, ended[seen.pid])
        self._collected &= ended.keys()

    def close(self) -> None:
        """Let go of them."""
        self._watched.close()

    def _lost(self, seen: Seen, exit_code: int | None) -> None:
        request = request_of(seen.token)
        self._place.slots.leave(seen.index)
        if request is not None:
            request.exit_code = exit_code if exit_code is not None else request.exit_code
            request.out_of_memory = self._out_of_memory.happened()
            settle_loss(self._site, request)
        self._replace()

    def _replace(self) -> None:
        """Have the pool start a new child now; by itself it looks only every five seconds."""
        hub, maintain = getattr(self._worker, "hub", None), getattr(self._worker.pool, "maintain_pool", None)
        if hub is not None and maintain is not None:
            hub.call_soon(maintain)


def request_of(token: int) -> Any:
    """Find the request that an attempt in a slot belongs to."""
    for request in list(state.active_requests) + list(state.reserved_requests):
        mark = request.request_dict.get(HEADER) or {}
        if token_of(request.id, mark.get("attempt") or 1) == token:
            return request
    return None
