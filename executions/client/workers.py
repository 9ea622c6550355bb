"""`client.workers`: the fleet as its members describe themselves."""

from __future__ import annotations

from executions.errors import NotFound
from executions.parts import Parts
from executions.registry.workers import WorkerInfo


class WorkersView:
    """List the workers and look at one."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def list(self) -> list[WorkerInfo]:
        """List the workers, those alive first."""
        return self._parts.workers.list()

    def get(self, name: str) -> WorkerInfo:
        """Give one worker by its name; raises `NotFound`."""
        for worker in self.list():
            if name in (worker.name, worker.term):
                return worker
        raise NotFound(f"no worker {name!r}")
