"""How a worker leaves: it takes nothing new, hands back what has not started, and ends what does not end by itself.

| asked by | takes messages | what waits here | what runs | then |
|---|---|---|---|---|
| `TERM` | no more | goes to others at once | goes on, for `drain_s` | ends |
| `TERM` again | | | is ended at once; `on_reset` decides | ends |
| `QUIT` | no more | goes to others at once | is ended at once; `on_reset` decides | ends |
| `executions workers drain` | no more | goes to others at once | goes on | stays, until `resume` or a signal |

Who dies in the middle of it loses nothing: what has not started is in the outbox and in a list of the broker, and
what runs is the rescuer's once the lease is over.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from signal import SIGKILL
from typing import Any

from celery import signals
from celery.bootsteps import RUN
from celery.worker import state

from executions.celery.site import Place, Site
from executions.dispatch import HEADER
from executions.errors import ExecutionsError
from executions.slots import token_of
from executions.telemetry import log
from workers.bootsteps.stops import Stopper
from workers.processes import kill_tree

logger = logging.getLogger(__name__)

#: Seconds in which the children of a worker that shuts down have to end once nothing runs any more, and the worker.
CHILDREN_END_WITHIN_S, ENDS_WITHIN_S = 3.0, 20.0


class Drain:
    """Looked at by the fleet's thread; the signal's handler only counts."""

    def __init__(self, site: Site, place: Place, worker: Any, stopper: Stopper) -> None:
        self._site = site
        self._place = place
        self._worker = worker
        self._stopper = stopper
        #: How often it was asked to shut down; the handler of a signal writes it.
        self._asked = 0
        self._is_cold = False
        self._until: float | None = None
        #: Since when nothing runs any more in a worker that shuts down.
        self._done_at = 0.0
        #: Queues that are not consumed any more while the worker stays.
        self._left: list[str] = []
        #: Requests that waited here when it was asked to shut down.
        self._waiting: list[Any] = []
        #: Requests that were handed back already.
        self._handed: set[str] = set()
        signals.worker_shutting_down.connect(self._on_signal, weak=False)

    def _on_signal(self, how: str = "", **_: Any) -> None:
        self._asked += 1
        self._is_cold = self._is_cold or how.lower() == "cold"
        self._place.slots.drain(True)
        # Celery forgets what waits here as soon as its consumer stops.
        with suppress(RuntimeError):  # a signal comes at any moment, also while that set grows
            self._waiting = list(state.reserved_requests)

    @property
    def is_leaving(self) -> bool:
        """Whether the worker ends once nothing runs any more."""
        return self._asked > 0

    def hurry(self) -> None:
        """Let nothing go on any longer."""
        self._on_signal("cold")

    def look(self, now: float) -> None:
        """Go on with what was asked for."""
        if self._asked and self._until is None:
            log(logger, "worker.draining", worker=self._place.worker)
            self._until = now + self._site.settings.drain_s
        if self._asked > 1 or self._is_cold:
            self._until = now
        if self._place.slots.draining and self._takes_nothing:
            self._hand_back()
        if self._until is not None and self._is_done:
            self._end_in_time(now)
        if self._until is not None and now >= self._until:
            self._stopper.drain_all(now)

    @property
    def _takes_nothing(self) -> bool:
        """Whether this worker's own consumer would not be the first to take what is handed back."""
        consumer = getattr(self._worker, "consumer", None)
        return bool(self._left) or consumer is None or consumer.blueprint.state != RUN

    @property
    def _is_done(self) -> bool:
        return self._takes_nothing and not self._place.slots.seen()

    def _end_in_time(self, now: float) -> None:
        """See that it ends: all that ran has been recorded.

        A child waits half a minute for its parent to read its last result, and the parent for its child: neither comes.
        A pool that lost a child while it was closed can wait for ever.
        """
        self._done_at = self._done_at or now
        if now > self._done_at + CHILDREN_END_WITHIN_S:
            pool = getattr(getattr(self._worker, "pool", None), "_pool", None)
            for child in list(getattr(pool, "_pool", ())):
                kill_tree(child.pid)
        if now > self._done_at + ENDS_WITHIN_S:
            log(logger, "worker.stuck", worker=self._place.worker)
            os.kill(os.getpid(), SIGKILL)

    def stay(self, draining: bool) -> None:
        """Take nothing new, or take again, and stay."""
        if self._asked:
            return
        self._place.slots.drain(draining)
        if draining:
            log(logger, "worker.draining", worker=self._place.worker)
        self._worker.consumer.call_soon(self._leave_queues if draining else self._take_again)

    def _leave_queues(self) -> None:
        consumer = self._worker.consumer
        for queue in list(consumer.app.amqp.queues.consume_from):
            self._left.append(queue)
            consumer.cancel_task_queue(queue)

    def _take_again(self) -> None:
        left, self._left = self._left, []
        self._handed.clear()
        for queue in left:
            self._worker.consumer.add_task_queue(queue)

    def _hand_back(self) -> None:
        """Send what waits here for a free place to all others; here it is refused once a place is free."""
        running = {seen.token for seen in self._place.slots.seen()}
        for request in {*self._waiting, *state.reserved_requests} - set(state.active_requests):
            mark = request.request_dict.get(HEADER) or {}
            if request.id in self._handed or token_of(request.id, mark.get("attempt") or 1) in running:
                continue
            self._handed.add(request.id)
            try:
                self._site.dispatcher.republish(self._site.space, request.id)
            except ExecutionsError as error:
                # It is in the outbox: the publisher sends it.
                log(logger, "registry.unreachable", while_doing="handing back", error=error)
