"""Reading executions."""

from __future__ import annotations

from collections.abc import Callable

from executions.errors import InvalidInput, NotFound
from executions.execution import Execution
from executions.registry.connection import translated
from executions.registry.records import decode_record
from executions.registry.space import Space


class Queries:
    """Everything that is read."""

    def __init__(self, space: Space, bind: Callable[[Execution], Execution]) -> None:
        self._space = space
        self._bind = bind

    @translated
    def get(self, execution_id: str) -> Execution:
        """Read one execution."""
        if not isinstance(execution_id, str) or not execution_id:
            raise InvalidInput(f"execution_id must be the id of an execution, not {execution_id!r}")
        raw = self._space.client.hgetall(self._space.keys(execution_id).record(execution_id))
        if not raw:
            raise NotFound(f"no execution {execution_id!r}: the id is unknown or it was removed after its retention")
        text = {k.decode(): v.decode(errors="replace") for k, v in raw.items()}
        return self._bind(decode_record(execution_id, text, self._space.shard(execution_id), self._space.shards))
