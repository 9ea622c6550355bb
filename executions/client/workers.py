"""`client.workers`: the fleet as its members describe themselves, and who leaves it."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from executions.clock import SYSTEM_CLOCK
from executions.errors import NotFound, WaitTimeout
from executions.parts import Parts
from executions.registry.workers import WorkerInfo

#: Seconds between two looks at a worker that is waited for: it tells of itself with its beats.
LOOK_S = 0.2


class WorkersView:
    """List the workers, look at one, have one leave."""

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

    def drain(self, name: str, *, wait: bool = False, timeout: float | None = None) -> WorkerInfo:
        """Have a worker take nothing new and hand back what it has not started; what runs goes on.

        With `wait`, until nothing runs there any more. It stays, and can be told to `resume`.
        """
        worker = self.get(name)
        self._parts.workers.push_drain(worker.name, True)
        return self._wait(worker, timeout) if wait else worker

    def resume(self, name: str) -> WorkerInfo:
        """Have a worker that drains take work again."""
        worker = self.get(name)
        self._parts.workers.push_drain(worker.name, False)
        return worker

    def safe_to_remove(self) -> Sequence[WorkerInfo]:
        """List the workers that take nothing new and run nothing: removing them disturbs nobody."""
        return [worker for worker in self.list() if is_safe(worker)]

    def _wait(self, worker: WorkerInfo, timeout: float | None) -> WorkerInfo:
        pause, deadline = threading.Event(), SYSTEM_CLOCK.monotonic() + timeout if timeout else None
        while True:
            now = self.get(worker.name)
            if is_safe(now) or not now.alive:
                return now
            if deadline is not None and SYSTEM_CLOCK.monotonic() > deadline:
                raise WaitTimeout(
                    f"waited {timeout:g} s for worker {now.name}, which still runs {now.facts.get('running')}"
                )
            pause.wait(LOOK_S)


def is_safe(worker: WorkerInfo) -> bool:
    """Tell whether a worker takes nothing new and runs nothing."""
    return worker.alive and bool(worker.facts.get("draining")) and not worker.facts.get("running")
