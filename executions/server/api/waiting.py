"""Long polls: a request that waits until an execution has ended, or changed, or its time is over.

Each holds a thread, so there are some for them alone: those who wait never keep those out who only read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread
from fastapi import Request

from executions.client import Client
from executions.errors import WaitTimeout
from executions.execution import Execution

Until = Literal["done", "change", "started"]

LONGEST_WAIT_S = 60.0

#: Requests that wait at once. Further ones queue for their time, and then tell how it is without having waited.
WAITERS = 200

#: Seconds that a thread waits before somebody looks whether the client is still there; also how long a server that is
#: stopped may take, as no thread can be called back.
SPELL_S = 2.0

T = TypeVar("T")

_waiters = CapacityLimiter(WAITERS)


async def waited(
    request: Request, client: Client, execution_id: str, wait_s: float, until: Until, read: Callable[[Execution], T]
) -> T:
    """Give what `read` makes of an execution, at the latest after so many seconds."""
    seen = await to_thread.run_sync(client.executions.get, execution_id)
    if wait_s > 0 and not _is_over(seen, until):
        with anyio.move_on_after(wait_s):
            while not await to_thread.run_sync(_wait, seen, until, limiter=_waiters, abandon_on_cancel=True):
                if await request.is_disconnected():
                    break
        seen = await to_thread.run_sync(client.executions.get, execution_id)
    return await to_thread.run_sync(read, seen)


def _wait(seen: Execution, until: Until) -> bool:
    """Wait for a while; tell whether it has come."""
    try:
        seen.wait(SPELL_S, until=until)
    except WaitTimeout:
        return False
    return True


def _is_over(seen: Execution, until: Until) -> bool:
    return seen.is_done or (until == "started" and seen.attempt > 0)
