"""What is due later: executions whose message is sent when their time has come, and no sooner."""

from __future__ import annotations

from collections.abc import Mapping

from executions.registry import scripts
from executions.registry.connection import translated
from executions.registry.outcomes import Owed, Untold
from executions.registry.space import Space


class Schedule:
    """Reads and tidies what is due, of all shards."""

    def __init__(self, space: Space) -> None:
        self._space = space

    @translated
    def due(self, limit: int) -> list[str]:
        """List what is due by the server's clock, up to a limit for each shard, what is due longest first."""
        client = self._space.client
        seconds, micros = client.time()
        pipeline = client.pipeline(transaction=False)
        for keys in self._space.all_keys():
            pipeline.zrangebyscore(keys.due, "-inf", seconds * 1_000_000 + micros, start=0, num=limit)
        return [raw_id.decode() for found in pipeline.execute() for raw_id in found]

    @translated
    def sent(self, owed: Mapping[str, Owed | Untold]) -> None:
        """Say that what was owed has been done."""
        client = self._space.client
        by_due: dict[str, list[str | int]] = {}
        for one, what in owed.items():
            by_due.setdefault(self._space.keys(one).due, []).extend((one, what.again_us))
        for due, pairs in by_due.items():
            scripts.DUE_SENT(client, (due,), tuple(pairs))

    @translated
    def forget(self, execution_id: str) -> None:
        """Owe nothing to an execution: its message cannot be made, or who waits for it has been told."""
        self._space.client.zrem(self._space.keys(execution_id).due, execution_id)
