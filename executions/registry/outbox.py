"""What waits for a worker: accepted executions whose message is on its way, or was lost."""

from __future__ import annotations

from dataclasses import dataclass

from executions.registry.connection import translated
from executions.registry.space import Space


@dataclass(frozen=True)
class Waiting:
    """An execution that has waited for a while."""

    id: str
    queue: str
    eta_us: int | None
    since_us: int


class Outbox:
    """Reads and tidies the outboxes of all shards."""

    def __init__(self, space: Space) -> None:
        self._space = space

    @translated
    def older_than(self, seconds: float, limit: int, skip: int = 0) -> list[Waiting]:
        """List what has waited longer than this, the oldest first; entries that are no longer pending are dropped."""
        found: list[Waiting] = []
        for keys in self._space.all_keys():
            now_s, now_us = self._space.client.time()
            latest = (now_s - seconds) * 1_000_000 + now_us
            entries = self._space.client.zrangebyscore(
                keys.outbox, "-inf", latest, start=skip, num=limit, withscores=True
            )
            pipeline = self._space.client.pipeline(transaction=False)
            for raw_id, _ in entries:
                pipeline.hmget(keys.record(raw_id.decode()), "st", "qu", "eta")
            gone = []
            for (raw_id, since), (status, queue, eta) in zip(entries, pipeline.execute(), strict=True):
                if status != b"pending":
                    gone.append(raw_id)
                    continue
                name = queue.decode() if queue else ""
                found.append(Waiting(raw_id.decode(), name, int(eta) if eta else None, int(since)))
            if gone:
                self._space.client.zrem(keys.outbox, *gone)
        return found

    @translated
    def size(self) -> int:
        """Count what waits for a worker, in whichever queue."""
        return sum(self._space.client.zcard(keys.outbox) for keys in self._space.all_keys())

    @translated
    def since_us(self, execution_id: str) -> float | None:
        """Tell since when an execution waits; nothing where it does not."""
        if not execution_id:
            return None
        return self._space.client.zscore(self._space.keys(execution_id).outbox, execution_id)

    @translated
    def touch(self, execution_id: str) -> None:
        """Start the waiting anew: its message has just been sent again."""
        seconds, micros = self._space.client.time()
        keys = self._space.keys(execution_id)
        self._space.client.zadd(keys.outbox, {execution_id: seconds * 1_000_000 + micros}, xx=True)
