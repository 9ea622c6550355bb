"""`client.health()`: whether all that executions need is there, each point with what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from executions.errors import ExecutionsError, Unavailable
from executions.parts import Parts
from executions.registry.address import mask_password
from executions.registry.connection import OLDEST_SERVER
from executions.registry.health import LEFTOVER_S, Leftovers, ServerHealth, read_leftovers, read_server
from executions.registry.records import FORMAT
from executions.registry.workers import WorkerInfo
from executions.version import VERSION

#: A clock this far off makes times hard to read; this far off, schedules and leases go wrong.
CLOCK_WARN_S = 1.0
CLOCK_FAIL_S = 10.0

#: Share of the server's memory from which on it is worth a word, and from which on writes are about to fail.
MEMORY_WARN = 0.8
MEMORY_FAIL = 0.95


class State(StrEnum):
    """How it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Check:
    """One point that was looked at: what was found and, unless it is well, what to do."""

    name: str
    state: State
    found: str
    advice: str = ""


def examine(parts: Parts) -> list[Check]:
    """Look at everything. What cannot be looked at without the server is left out while that is away."""
    try:
        server = read_server(parts.space)
    except ExecutionsError as error:
        what_to_do = (
            "check the user and password in the URL"
            if "password" in str(error)
            else "start it (`executions up`), or name another by --url or EXECUTIONS_URL"
        )
        unreachable = Check("server", State.FAIL, str(error), what_to_do)
        return [unreachable, *_broker(parts), _payloads(parts)]
    return [
        _server(server, parts.settings.url),
        _eviction(server),
        _persistence(server),
        _memory(server),
        _clock(server),
        _schema(server),
        *_broker(parts),
        *_workers(parts.workers.list()),
        _payloads(parts),
        _leftovers(read_leftovers(parts.space, server.shards or 1)),
    ]


def _server(server: ServerHealth, url: str) -> Check:
    found = f"{server.kind} {server.version} at {mask_password(url)}, {server.round_trip_s * 1000:.1f} ms away"
    # Valkey began with 7.2; its number is compared as it is.
    if tuple(int(part) for part in server.version.split(".")[:2]) < OLDEST_SERVER:
        return Check("server", State.FAIL, found, "use Redis 6.2 or newer, or Valkey")
    return Check("server", State.OK, found)


def _eviction(server: ServerHealth) -> Check:
    if server.eviction == "noeviction":
        return Check("eviction", State.OK, "noeviction")
    if not server.eviction:
        return Check(
            "eviction", State.WARN, "the server does not tell", "make sure that maxmemory-policy is noeviction"
        )
    # Without a limit nothing is thrown away yet; the day somebody sets one, executions vanish.
    state = State.FAIL if server.limit_bytes else State.WARN
    return Check(
        "eviction", state, f"{server.eviction}: a full server throws executions away", "set maxmemory-policy noeviction"
    )


def _persistence(server: ServerHealth) -> Check:
    if server.disk_error:
        return Check("persistence", State.FAIL, server.disk_error, "look at the server's disk and its log")
    if not server.append_only:
        return Check(
            "persistence", State.WARN, "no append-only file: a crash loses what came since the last snapshot",
            "set appendonly yes",
        )  # fmt: skip
    return Check("persistence", State.OK, "append-only file")


def _memory(server: ServerHealth) -> Check:
    used = _mib(server.used_bytes)
    if not server.limit_bytes:
        return Check("memory", State.OK, f"{used} used, no limit")
    share = server.used_bytes / server.limit_bytes
    found = f"{used} of {_mib(server.limit_bytes)} used ({share:.0%})"
    if share < MEMORY_WARN:
        return Check("memory", State.OK, found)
    state = State.WARN if share < MEMORY_FAIL else State.FAIL
    return Check(
        "memory", state, found, "raise maxmemory, or keep executions for a shorter time (EXECUTIONS_RETENTION_S)"
    )


def _clock(server: ServerHealth) -> Check:
    off = server.clock_ahead_s
    # The round trip is what we cannot tell apart from a difference.
    certain = max(0.0, abs(off) - server.round_trip_s)
    if certain < CLOCK_WARN_S:
        return Check("clock", State.OK, f"{abs(off) * 1000:.0f} ms from the server's")
    found = f"the server's clock is {abs(off):.1f} s {'ahead of' if off > 0 else 'behind'} this machine's"
    state = State.WARN if certain < CLOCK_FAIL_S else State.FAIL
    return Check("clock", state, found, "keep both in time (NTP): schedules and time limits go by them")


def _schema(server: ServerHealth) -> Check:
    if server.format is None:
        return Check("schema", State.OK, "nothing written yet")
    found = f"format {server.format}, {server.shards} {'shard' if server.shards == 1 else 'shards'}"
    if server.format > FORMAT:
        return Check("schema", State.FAIL, f"{found}; this version reads up to {FORMAT}", "upgrade executions here")
    return Check("schema", State.OK, found)


def _broker(parts: Parts) -> Iterator[Check]:
    try:
        yield Check("broker", State.OK, parts.dispatcher.reach())
    except Unavailable as error:
        yield Check("broker", State.FAIL, str(error), "start it, or name another by EXECUTIONS_BROKER")


def _workers(workers: list[WorkerInfo]) -> Iterator[Check]:
    alive = [worker for worker in workers if worker.alive]
    lost = sorted(worker.name for worker in workers if not worker.alive)
    if not alive:
        yield Check(
            "workers", State.WARN, "none alive: what is submitted waits",
            "start one: `celery -A yourapp worker`, with executions.install(app) in yourapp, or `executions up`",
        )  # fmt: skip
    else:
        slots = sum(int(worker.facts.get("concurrency") or 0) for worker in alive)
        versions = sorted({str(worker.facts.get("version") or "unknown") for worker in alive})
        found = f"{len(alive)} alive with {slots} slots, version {', '.join(versions)}"
        if versions == [VERSION]:
            yield Check("workers", State.OK, found)
        else:
            yield Check("workers", State.WARN, f"{found}; here it is {VERSION}", "run one version everywhere")
    if lost:
        yield Check(
            "lost workers", State.WARN, f"no longer beating: {', '.join(lost[:5])}{' ...' if lost[5:] else ''}",
            "what they ran is rescued as their on_reset says; look why they ended",
        )  # fmt: skip


def _payloads(parts: Parts) -> Check:
    where = parts.settings.payloads
    try:
        place = parts.payloads.probe()
    except (ExecutionsError, OSError, ValueError) as error:
        return Check("payloads", State.FAIL, f"{where}: {error}", "make it writable, or set EXECUTIONS_PAYLOADS")
    if "://" not in where and not where.startswith("/"):
        return Check(
            "payloads", State.WARN, f"{place}, which only processes started in the same folder share",
            "set EXECUTIONS_PAYLOADS to a full path, or to a URL where there are several machines",
        )  # fmt: skip
    return Check("payloads", State.OK, f"{place}, writable")


def _leftovers(left: Leftovers) -> Check:
    if not left.count:
        return Check("outbox", State.OK, f"nothing waits for a worker longer than {LEFTOVER_S:.0f} s")
    count = f"{left.count}{' or more' if left.more else ''}"
    return Check(
        "outbox", State.WARN, f"{count} waiting for a worker, the longest for {left.oldest_s:.0f} s",
        "compare the queues in `executions ls status:pending` with those in `executions workers`",
    )  # fmt: skip


def _mib(count: int) -> str:
    return f"{count / (1 << 20):,.0f} MiB"
