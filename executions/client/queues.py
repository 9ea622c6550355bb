"""`client.queues`: what waits where, and who serves it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from executions.execution import Execution
from executions.parts import Parts
from executions.queue import Position, Queue
from executions.registry.queries import Queries
from executions.states import Reason, Status


class QueuesView:
    """List the queues."""

    def __init__(self, parts: Parts, queries: Callable[[], Queries]) -> None:
        self._parts = parts
        self._queries = queries

    def list(self) -> list[Queue]:
        """List the queues that something waits or runs in, or that a worker serves, by name; at most some hundred."""
        queries = self._queries()
        pending = queries.facets(f"status:{Status.PENDING}", by=("queue",))["queue"]
        running = queries.facets(f"status:{Status.RUNNING}", by=("queue",))["queue"]
        serving: dict[str, list[str]] = {}
        for worker in self._parts.workers.list():
            for name in worker.facts.get("queues") or () if worker.alive else ():
                serving.setdefault(name, []).append(worker.name)
        busy = {name for found in (pending, running) for name, count in found.items() if count}
        return [
            Queue(
                name=name,
                pending=pending.get(name, 0),
                running=running.get(name, 0),
                oldest=self._oldest(name) if pending.get(name) else None,
                workers=tuple(sorted(serving.get(name, ()))),
            )
            for name in sorted(busy | serving.keys())
        ]

    def position(self, execution: Execution) -> Position | None:
        """Tell how many messages are taken from its queue before that of an execution.

        At most 500 of each priority are looked at. `None` for what waits for something else or does not wait, while
        its message is on its way, and where the broker cannot say it, as RabbitMQ.
        """
        if execution.status is not Status.PENDING or execution.reason in (Reason.SCHEDULED, Reason.WAITING):
            return None
        found = self._parts.dispatcher.position(execution.queue or "", execution.id)
        if found is None and execution.id in self._parts.dispatcher.in_hands(self._parts.settings.namespace):
            return Position(execution.queue or "", 0, 0, is_held=True)
        return found

    def _oldest(self, name: str) -> datetime | None:
        page = self._queries().page(f'status:{Status.PENDING} AND queue:"{name}"', sort="created", limit=1, cursor=None)
        return page[0].created if len(page) else None
