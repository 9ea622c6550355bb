"""Long polls: a request that waits until an execution has ended, or changed, or its time is over.

Each holds a thread, so there are some for them alone: those who wait never keep those out who only read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread

from executions.client import Client
from executions.clock import SYSTEM_CLOCK
from executions.errors import WaitTimeout
from executions.execution import Execution

Until = Literal["done", "change", "started"]

LONGEST_WAIT_S = 60.0

#: Requests that wait at once. Further ones queue for their time, and then tell how it is without having waited.
WAITERS = 200

T = TypeVar("T")

_waiters = CapacityLimiter(WAITERS)


async def waited(client: Client, execution_id: str, wait_s: float, until: Until, read: Callable[[Execution], T]) -> T:
    """Give what `read` makes of an execution, at the latest after so many seconds."""
    seen = await to_thread.run_sync(client.executions.get, execution_id)
    if wait_s > 0 and not _is_over(seen, until):
        deadline = SYSTEM_CLOCK.monotonic() + wait_s
        with anyio.move_on_after(wait_s):
            # Who waits is not called back when the client goes away: the thread ends with its time.
            await to_thread.run_sync(_wait, seen, deadline, until, limiter=_waiters, abandon_on_cancel=True)
        seen = await to_thread.run_sync(client.executions.get, execution_id)
    return await to_thread.run_sync(read, seen)


def _wait(seen: Execution, deadline: float, until: Until) -> None:
    left = deadline - SYSTEM_CLOCK.monotonic()
    if left > 0:
        try:
            seen.wait(left, until=until)
        except WaitTimeout:
            pass


def _is_over(seen: Execution, until: Until) -> bool:
    return seen.is_done or (until == "started" and seen.attempt > 0)
