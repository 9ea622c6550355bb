"""Jobs that were handed to a child process which does not begin them.

A child may live and do nothing: stopped by a signal, or waiting for a lock that nobody will release. Celery takes it
for busy, for ever, and the execution waits with it.

| what the child does | what becomes of it |
|---|---|
| it starts up, as long as Celery lets it | it is waited for |
| it runs a function, or what its author has it do afterwards | it is waited for |
| it waits for the registry, or for the worker's lease, and so does the parent | it is waited for |
| its execution has to wait for a place in a service | it is free again: no child waits for that |
| it does not take the job, or takes it and gets nowhere | it is killed, another begins the job: no attempt is spent |
| the same, and the connection to the broker broke | it is given another job, and killed if it does not begin that |
| the same, after it has taken an attempt and could not hear so | it is killed, the attempt is lost with it |

Times are counted in looks, so a pause of the machine is nobody's fault.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

from celery.worker import state

from executions.celery.losses import attempt_number
from executions.celery.request import ExecutionRequest
from executions.celery.site import Place
from executions.slots import token_of
from executions.telemetry import log
from workers.processes import kill_tree

logger = logging.getLogger(__name__)

#: The longest step between two looks that counts, in seconds.
STEP_S = 1.0


class Handed:
    """Watches what the pool has written to its children, and kills those that make nothing of it."""

    def __init__(
        self,
        place: Place,
        worker: Any,
        patience_s: float,
        *,
        in_touch: Callable[[float], bool],
        replace: Callable[[], None],
    ) -> None:
        self._place = place
        self._worker = worker
        self._patience_s = patience_s
        self._in_touch = in_touch
        self._replace = replace
        #: The children that were killed here and that the pool still counts as its own.
        self._killed: set[int] = set()
        #: Seconds that each child has been seen with each job, by the child's pid and the execution's id.
        self._waited: dict[tuple[int, str], float] = {}
        self._last: float | None = None

    def look(self, now: float) -> None:
        """Kill the children that were given something too long ago."""
        step = min(now - self._last, STEP_S) if self._last is not None and self._in_touch(now) else 0.0
        self._last = now
        pool, waited = getattr(self._worker.pool, "_pool", None), {}
        if pool is None:
            return
        self._killed &= {child.pid for child in list(pool._pool)}
        if self._killed:
            self._replace()
        for child, execution_id in self._stuck(pool):
            key = (child.pid, execution_id)
            waited[key] = self._waited.get(key, 0.0) + step
            if waited[key] >= self._patience_s:
                self._give_up(pool, child, execution_id)
                waited[key] = 0.0
        self._waited = waited

    def _stuck(self, pool: Any) -> Iterator[tuple[Any, str]]:
        """Give the children that have work and have not begun it, with the id of that, where it is known."""
        not_yet = self._killed | {child.pid for child in list(pool._waiting_to_start)}
        there = [child for child in list(pool._pool) if child.pid not in not_yet]
        running = {seen.index: seen.token for seen in self._place.slots.seen()}
        jobs = list(pool._cache.values())
        for child in there:
            given = [job for job in jobs if job._write_to is child]
            # What is written behind another job, as Celery does with `-O fast`, has its time after that one.
            first = next((job for job in given if job._accepted), given[0] if given else None)
            if first is None:
                if child.index not in running and child.inqW_fd in pool._busy_workers:
                    yield child, ""
            elif self._is_waiting(first, child.index, running.get(child.index)):
                yield child, first.correlation_id

    def _is_waiting(self, job: Any, index: int, running: int | None) -> bool:
        """Whether a job is an execution that a child has not begun, and nothing else runs there."""
        request = next((one for one in list(state.reserved_requests) if one.id == job.correlation_id), None)
        if not isinstance(request, ExecutionRequest):
            return False
        token = token_of(request.id, attempt_number(request))
        return running in (None, token) and not self._place.slots.has_begun(index, token)

    def _give_up(self, pool: Any, child: Any, execution_id: str) -> None:
        if execution_id:
            log(logger, "worker.child_stuck", id=execution_id, pid=child.pid, seconds=round(self._patience_s))
            kill_tree(child.pid)
            self._killed.add(child.pid)
            self._replace()
        else:
            # Over a broken connection the pool forgets what it has written. The next job shows what the child does.
            pool._busy_workers.discard(child.inqW_fd)
