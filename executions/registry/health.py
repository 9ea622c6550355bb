"""What the server says of itself, for those who ask whether all is well. Reads only, and writes no schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from executions.clock import SYSTEM_CLOCK
from executions.registry import keys
from executions.registry.connection import RedisClient, translated
from executions.registry.space import Space

#: How long an execution may lie in the outbox before that is worth a word.
LEFTOVER_S = 60.0

#: Entries of a shard's outbox that are looked at, the oldest.
LEFTOVERS_READ = 500

#: An execution that waits on purpose is no leftover.
_ON_PURPOSE = (b"scheduled", b"waiting")


@dataclass(frozen=True)
class ServerHealth:
    """The facts, without a judgement."""

    #: `redis` or `valkey`.
    kind: str
    version: str
    #: `noeviction`, or what the server throws away when it is full.
    eviction: str
    append_only: bool
    #: What went wrong with the last write to disk, if something did.
    disk_error: str | None
    used_bytes: int
    #: 0 is no limit.
    limit_bytes: int
    #: How far the server's clock is ahead of ours.
    clock_ahead_s: float
    round_trip_s: float
    #: `None` where nothing has used this registry yet.
    format: int | None
    shards: int | None


@dataclass(frozen=True)
class Leftovers:
    """Executions that no worker has taken up for a while."""

    count: int
    oldest_s: float
    #: Whether there may be more than were looked at.
    more: bool


@translated
def ping(space: Space) -> float:
    """Give the seconds that the server took to answer."""
    began = SYSTEM_CLOCK.monotonic()
    space.client.ping()
    return SYSTEM_CLOCK.monotonic() - began


@translated
def read_server(space: Space) -> ServerHealth:
    """Ask the server."""
    client = space.client
    client.ping()  # the connection is made before the clock is looked at
    info: dict[str, Any] = client.info("everything")
    before = SYSTEM_CLOCK.now()
    seconds, micros = client.time()
    after = SYSTEM_CLOCK.now()
    written, shards = client.hmget(keys.schema(space.namespace), "format", "shards")
    valkey = info.get("valkey_version")
    return ServerHealth(
        kind="valkey" if valkey else str(info.get("server_name", "redis")),
        version=str(valkey or info["redis_version"]),
        eviction=str(info.get("maxmemory_policy", "")),
        append_only=bool(info.get("aof_enabled")),
        disk_error=_disk_error(info),
        used_bytes=int(info.get("used_memory", 0)),
        limit_bytes=int(info.get("maxmemory", 0)),
        clock_ahead_s=seconds + micros / 1_000_000 - (before + after) / 2,
        round_trip_s=after - before,
        format=None if written is None else int(written),
        shards=None if shards is None else int(shards),
    )


@translated
def read_leftovers(space: Space, shards: int) -> Leftovers:
    """Find executions that wait for a worker, and not on purpose, for longer than `LEFTOVER_S`."""
    client = space.client
    seconds, _ = client.time()
    before_us = (seconds - LEFTOVER_S) * 1_000_000
    count, oldest, more = 0, 0.0, False
    for shard in range(shards):
        owned = keys.shard_keys(space.namespace, shard)
        entries: list[tuple[bytes, float]] = client.zrangebyscore(
            owned.outbox, "-inf", before_us, start=0, num=LEFTOVERS_READ, withscores=True
        )
        more = more or len(entries) == LEFTOVERS_READ
        for since_us in _not_on_purpose(client, owned, entries):
            count += 1
            oldest = max(oldest, seconds - since_us / 1_000_000)
    return Leftovers(count, oldest, more)


def _not_on_purpose(client: RedisClient, owned: keys.ShardKeys, entries: list[tuple[bytes, float]]) -> list[float]:
    pipeline = client.pipeline(transaction=False)
    for execution_id, _ in entries:
        pipeline.hget(owned.record(execution_id.decode()), "rs")
    reasons = pipeline.execute()
    return [since for (_, since), reason in zip(entries, reasons, strict=True) if reason not in _ON_PURPOSE]


def _disk_error(info: dict[str, Any]) -> str | None:
    for field, what in (("aof_last_write_status", "append-only file"), ("rdb_last_bgsave_status", "snapshot")):
        if info.get(field, "ok") != "ok":
            return f"the last write of the {what} failed"
    return None
