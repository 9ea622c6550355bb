"""What a worker hears from the fleet's clients: stops, cancellations, services that changed."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from celery import signals
from celery.worker import state

from executions.celery.followers import release_followers
from executions.celery.site import Site
from executions.errors import ExecutionsError
from executions.registry.workers import StopCommand, read_command
from executions.states import Status
from executions.telemetry import log

logger = logging.getLogger(__name__)

#: Cancelled executions whose messages have not come yet, that a worker remembers; the oldest are forgotten.
CANCELLED_KEPT = 10_000


class Ear:
    """A subscription to the commands. What it misses the next beat brings: commands are pushed to be fast only."""

    def __init__(
        self,
        site: Site,
        worker: Any,
        name: str,
        *,
        on_stop: Callable[[StopCommand], None],
        on_service: Callable[[str], None],
    ) -> None:
        self._site = site
        self._worker = worker
        self._name = name
        self._on_stop = on_stop
        self._on_service = on_service
        self._subscription: Any = None
        self._cancelled: OrderedDict[str, None] = OrderedDict()
        signals.task_received.connect(self._on_received, weak=False)

    def listen(self, seconds: float) -> None:
        """Wait for commands, and obey those that come."""
        if self._subscription is None:
            self._subscription = self._site.workers.subscribe()
        message = self._subscription.get_message(timeout=seconds)
        while message is not None:
            self._obey(read_command(message))
            message = self._subscription.get_message(timeout=0)

    def forget(self) -> None:
        """Subscribe anew at the next chance: the connection is of no use any more."""
        self._subscription = None

    def _obey(self, command: dict[str, Any]) -> None:
        if command["do"] == "stop" and command["worker"] == self._name:
            self._on_stop(StopCommand(command["id"], command["attempt"], command["mode"], command["grace_s"]))
        elif command["do"] == "cancelled":
            self._release(command["id"])
        elif command["do"] == "services":
            self._site.services.forget(command["name"])
            self._on_service(command["name"])
            if command.get("answer"):
                self._site.services.answer(command["answer"], self._name)

    def _release(self, execution_id: str) -> None:
        """An execution whose message waits here for its time was cancelled: nobody must wait for it any longer."""
        request = state.requests.get(execution_id) or self._scheduled(execution_id)
        if request is not None:
            release_followers(request.task.backend, request._context)
            return
        # Its message may still be on its way here.
        self._cancelled[execution_id] = None
        while len(self._cancelled) > CANCELLED_KEPT:
            self._cancelled.popitem(last=False)

    def _on_received(self, request: Any = None, **_: Any) -> None:
        """A message came, by Celery's signal: let those go who wait for it, where it was cancelled meanwhile."""
        if request is None or request.id not in self._cancelled:
            return
        self._cancelled.pop(request.id, None)
        try:
            if self._site.transitions.status_of(request.id) is Status.TERMINATED:
                release_followers(request.task.backend, request._context)
        except ExecutionsError:
            log(logger, "registry.unreachable", while_doing="release")

    def _scheduled(self, execution_id: str) -> Any:
        """Celery before 5.5 knew a request that waits for its time only as an entry of its timer."""
        timer = getattr(self._worker.consumer, "timer", None)
        for waiting in list(timer.schedule.queue) if timer else ():
            first = next(iter(waiting.entry.args), None)
            if getattr(first, "id", None) == execution_id:
                return first
        return None
