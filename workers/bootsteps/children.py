"""The child processes of a prefork worker: which has ended, how, and what becomes of what it ran."""

from __future__ import annotations

from typing import Any

from celery.worker import state

from executions.celery.losses import how_it_ended, settle_loss
from executions.celery.site import Place, Site
from executions.dispatch import HEADER
from executions.slots import Seen, token_of
from executions.upkeep.rescuer import rescue_child
from workers.processes import OutOfMemory, Watched


class Children:
    """Looks at those that run something. Celery's own notice of a lost child takes seconds."""

    def __init__(self, site: Site, place: Place, worker: Any) -> None:
        self._site = site
        self._place = place
        self._worker = worker
        self._watched = Watched()
        self._out_of_memory = OutOfMemory()
        place.memory_ran_out = self._out_of_memory.happened
        #: The pool's children at the last look, and those that had left it by then.
        self._known: dict[int, Any] = {}
        self._gone: dict[int, Any] = {}

    def look(self) -> None:
        """Record the ends of those that were lost since the last look."""
        occupied = self._place.slots.seen()
        self._watched.watch({seen.pid for seen in occupied})
        ended = self._watched.ended()
        for seen in occupied:
            if seen.pid in ended:
                self._lost(seen, ended[seen.pid])
        self._look_after_gone()

    def _look_after_gone(self) -> None:
        """See that nothing is left of children that the pool has let go: some live too shortly to be seen in a slot.

        The pool gives a message whose child was killed before it could say that it had begun to another child, which
        is refused. One look later, so that whoever knows more has written it down.
        """
        for pid in list(self._gone):
            code = _collected(self._gone[pid])
            rescue_child(self._site, self._term, pid, how_it_ended(code, self._out_of_memory.happened()), code)
            del self._gone[pid]
        pool = getattr(self._worker.pool, "_pool", None)
        now = {child.pid: child for child in list(pool._pool)} if pool is not None else {}
        self._gone |= {pid: child for pid, child in self._known.items() if pid not in now}
        self._known = now

    @property
    def _term(self) -> str:
        return f"{self._place.worker}#{self._place.slots.incarnation}"

    def close(self) -> None:
        """Let go of them."""
        self._watched.close()

    def _lost(self, seen: Seen, exit_code: int | None) -> None:
        request = request_of(seen.token)
        if exit_code is None and seen.pid in self._known:
            exit_code = _collected(self._known[seen.pid])
        out_of_memory = self._out_of_memory.happened()
        if request is not None:
            request.exit_code = exit_code if exit_code is not None else request.exit_code
            request.out_of_memory = out_of_memory
            settle_loss(self._site, request)
        else:
            rescue_child(self._site, self._term, seen.pid, how_it_ended(exit_code, out_of_memory), exit_code)
        # Not before that is done: where the registry is away it is tried again.
        self._place.slots.leave(seen.index, seen.token)
        self.replace()

    def replace(self) -> None:
        """Have the pool start a new child now; by itself it looks only every five seconds."""
        hub, maintain = getattr(self._worker, "hub", None), getattr(self._worker.pool, "maintain_pool", None)
        if hub is not None and maintain is not None:
            hub.call_soon(maintain)


def _collected(child: Any) -> int | None:
    """Give the exit code of a child whose end the pool has collected."""
    return getattr(getattr(child, "_popen", None), "returncode", None)


def request_of(token: int) -> Any:
    """Find the request that an attempt in a slot belongs to."""
    for request in list(state.active_requests) + list(state.reserved_requests):
        mark = request.request_dict.get(HEADER) or {}
        if token_of(request.id, mark.get("attempt") or 1) == token:
            return request
    return None
