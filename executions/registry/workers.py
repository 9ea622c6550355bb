"""The workers of the fleet: who is there, since when, and how a command reaches one of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from executions.clock import to_datetime
from executions.registry import keys
from executions.registry.connection import translated
from executions.registry.space import Space

#: How long a worker that is gone stays listed, in leases.
REMEMBERED_LEASES = 10

#: Commands that one beat brings back at most; the next beat brings the rest.
STOPS_PER_BEAT = 1000


@dataclass(frozen=True)
class WorkerInfo:
    """What is known of one worker."""

    name: str
    term: str
    alive: bool
    lease_ends: datetime | None
    facts: dict[str, Any]


@dataclass(frozen=True)
class LostTerm:
    """A worker whose lease has run out. What it started before `before` (seconds) is nobody's any more."""

    worker: str
    term: str
    before: float


@dataclass(frozen=True)
class StopCommand:
    """Somebody wants an execution stopped, and this worker runs it."""

    id: str
    attempt: int
    mode: str
    grace_s: float | None


class Workers:
    """Reads and writes about workers. A worker's `term` is its name and start; a lost term never comes back."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._settings = space.settings

    @translated
    def beat(self, worker: str, term: str, facts: dict[str, Any]) -> tuple[bool, list[StopCommand]]:
        """Renew the lease; tell whether the term still stands, and bring what must be stopped."""
        client, namespace = self._space.client, self._space.namespace
        pipeline = client.pipeline(transaction=False)
        pipeline.time()
        pipeline.zscore(keys.workers(namespace), term)
        pipeline.exists(keys.worker(namespace, term))
        for shard in self._space.all_keys():
            pipeline.hscan(shard.stops, count=STOPS_PER_BEAT)
        (seconds, micros), score, known, *stops = pipeline.execute()
        if score is None and known:
            return False, []
        now = seconds + micros / 1_000_000
        ends = now + self._settings.lease_s
        pipeline = client.pipeline(transaction=True)
        pipeline.zadd(keys.workers(namespace), {term: ends})
        pipeline.hset(keys.worker(namespace, term), mapping={"name": worker, "facts": json.dumps(facts)})
        pipeline.hsetnx(keys.worker(namespace, term), "since", now)
        pipeline.expire(keys.worker(namespace, term), round(self._settings.lease_s * REMEMBERED_LEASES))
        pipeline.execute()
        return True, [command for _, found in stops for command in _commands(found, worker)]

    @translated
    def give_up(self, term: str) -> None:
        """Leave the fleet with functions still running: whoever leads may rescue them at once."""
        self._space.client.zadd(keys.workers(self._space.namespace), {term: 0})

    @translated
    def lost(self, limit: int = 20) -> list[LostTerm]:
        """List terms whose lease has run out, each with the time before which its executions started."""
        client, namespace = self._space.client, self._space.namespace
        seconds, micros = client.time()
        now = seconds + micros / 1_000_000
        leases = client.zrange(keys.workers(namespace), 0, -1, withscores=True)
        alive = [term.decode() for term, ends in leases if ends >= now]
        since = dict(zip(alive, self._since(alive), strict=True))
        found = []
        for term in [term.decode() for term, ends in leases if ends < now][:limit]:
            name = term.rpartition("#")[0]
            heirs = [since[other] for other in alive if other.rpartition("#")[0] == name]
            found.append(LostTerm(name, term, min(heirs, default=now)))
        return found

    def _since(self, terms: list[str]) -> list[float]:
        pipeline = self._space.client.pipeline(transaction=False)
        for term in terms:
            pipeline.hget(keys.worker(self._space.namespace, term), "since")
        return [float(value or 0) for value in pipeline.execute()]

    @translated
    def processes(self) -> set[str]:
        """Name the worker processes that are alive, or whose terms are over and not yet rescued."""
        terms = self._space.client.zrange(keys.workers(self._space.namespace), 0, -1)
        return {process_of(term.decode()) for term in terms}

    @translated
    def resign(self, term: str) -> None:
        """Leave the fleet in order."""
        pipeline = self._space.client.pipeline(transaction=True)
        pipeline.zrem(keys.workers(self._space.namespace), term)
        pipeline.delete(keys.worker(self._space.namespace, term))
        pipeline.execute()

    @translated
    def list(self, limit: int = 1000) -> list[WorkerInfo]:
        """List the workers, those alive first."""
        client, namespace = self._space.client, self._space.namespace
        now = client.time()[0]
        leases = client.zrange(keys.workers(namespace), 0, limit - 1, desc=True, withscores=True)
        pipeline = client.pipeline(transaction=False)
        for term, _ in leases:
            pipeline.hgetall(keys.worker(namespace, term.decode()))
        found = []
        for (term, ends), raw in zip(leases, pipeline.execute(), strict=True):
            facts = json.loads(raw.get(b"facts", b"{}"))
            name = raw.get(b"name", term.split(b"#")[0]).decode()
            ends_at = to_datetime(round(ends * 1_000_000))
            found.append(WorkerInfo(name, term.decode(), ends >= now, ends_at, facts))
        return found

    @translated
    def push_stop(self, worker: str, execution_id: str, attempt: int, mode: str, grace_s: float | None) -> None:
        """Tell a worker at once; its next beat would tell it as well."""
        self.push(
            {
                "do": "stop",
                "worker": worker,
                "id": execution_id,
                "attempt": attempt,
                "mode": mode,
                "grace_s": grace_s,
            }
        )

    @translated
    def push_cancelled(self, execution_id: str) -> None:
        """Tell the workers that one of them may hold the message of an execution that will never run."""
        self.push({"do": "cancelled", "id": execution_id})

    @translated
    def push(self, command: dict[str, Any]) -> None:
        """Tell all workers something."""
        self._space.client.publish(keys.commands(self._space.namespace), json.dumps(command))

    def subscribe(self) -> Any:
        """Give a subscription to the commands; the caller reads and closes it."""
        client = self._space.own_client(socket_timeout_s=None)
        subscription = client.pubsub(ignore_subscribe_messages=True)
        subscription.subscribe(keys.commands(self._space.namespace))
        # Keeps the client alive: without it the subscription dies under its reader.
        subscription.owner = client
        return subscription


def term_of(worker: str, process: str, number: int) -> str:
    """Name a term: which worker, in which process, for which time since that began."""
    return f"{worker}#{process}.{number}"


def process_of(term: str) -> str:
    """Tell which process a term is of."""
    return term.rpartition("#")[2].partition(".")[0]


def _commands(found: dict[bytes, bytes], worker: str) -> Iterator[StopCommand]:
    for execution_id, text in found.items():
        raw = json.loads(text)
        if raw["worker"] == worker:
            request = raw["request"]
            yield StopCommand(execution_id.decode(), raw["attempt"], request["mode"], request.get("grace_s"))


def read_command(message: dict[str, Any]) -> dict[str, Any]:
    """Read one message of the subscription."""
    command: dict[str, Any] = json.loads(message["data"])
    return command
