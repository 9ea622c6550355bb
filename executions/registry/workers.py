"""The workers of the fleet: who is there, since when, and how a command reaches one of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from executions.clock import to_datetime
from executions.registry import keys, scripts
from executions.registry.connection import RedisClient, translated
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

    @property
    def state(self) -> str:
        """A word for how it is: lost, stalled, draining or alive."""
        if not self.alive:
            return "lost"
        if self.facts.get("stalled"):
            return "stalled"
        return "draining" if self.facts.get("draining") else "alive"


@dataclass(frozen=True)
class StopCommand:
    """Somebody wants an execution stopped, and this worker runs it."""

    id: str
    attempt: int
    mode: str
    grace_s: float | None


@dataclass(frozen=True)
class Beat:
    """What a beat brought back."""

    stands: bool
    #: By the server's clock.
    now_us: int
    stops: list[StopCommand]


def parse_term(term: str) -> tuple[str, str]:
    """Give the worker's name and the incarnation."""
    name, _, incarnation = term.rpartition("#")
    return name, incarnation


#: What tells one worker process from all others, before the number of its term: both fit into a cell of the slots.
PROCESS_BYTES = 6


class Workers:
    """Reads and writes about workers. A term that was declared over never comes back."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._settings = space.settings

    @translated
    def beat(self, term: str, facts: dict[str, Any] | None, *, anew: bool, client: RedisClient = None) -> Beat:
        """Renew the lease unless the term is over, and bring what must be stopped.

        Without facts those of the beat before stay. `anew` says that nobody can have declared the term over, so that a
        server which does not know it may enter it.
        """
        namespace, (name, _) = self._space.namespace, parse_term(term)
        life = round(self._settings.lease_s * REMEMBERED_LEASES)
        told = "" if facts is None else json.dumps(facts)
        shards = self._space.all_keys()

        def bring_stops(pipeline: Any) -> None:
            for shard in shards:
                pipeline.hscan(shard.stops, count=STOPS_PER_BEAT)

        (stands, now_us), *stops = scripts.BEAT.before(
            client or self._space.client,
            (keys.workers(namespace), keys.worker(namespace, term)),
            (term, name, told, self._settings.lease_s, max(1, life), "1" if anew else ""),
            bring_stops,
        )
        return Beat(bool(stands), int(now_us), [command for _, found in stops for command in _commands(found, name)])

    def own_client(self) -> RedisClient:
        """Make a client for beats alone: a connection that leads nowhere must not cost the lease."""
        return self._space.own_client(socket_timeout_s=max(0.3, self._settings.lease_s / 6))

    @translated
    def give_up(self, term: str) -> None:
        """Leave the fleet with functions still running: whoever leads may rescue them at once."""
        self._space.client.zadd(keys.workers(self._space.namespace), {term: 0})

    @translated
    def condemn(self, heard_us: int, limit: int = 20) -> list[str]:
        """Declare terms over whose lease has run out; give all that are over and wait for their rescue.

        `heard_us` is when the caller last heard from the server, by the server's clock: who has not heard from it
        lately condemns nobody.
        """
        patience_us = round(self._settings.gap_s * 1_000_000)
        names = (keys.workers(self._space.namespace),)
        found: list[bytes] = scripts.CONDEMN(self._space.client, names, (heard_us, patience_us, limit))
        return [term.decode() for term in found]

    @translated
    def terms(self) -> set[str]:
        """Give every term that stands, or whose rescue is not done yet."""
        return {term.decode() for term in self._space.client.zrange(keys.workers(self._space.namespace), 0, -1)}

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
            ends_at = to_datetime(round(ends * 1_000_000)) if ends > 0 else None
            found.append(WorkerInfo(name, term.decode(), ends >= now, ends_at, facts))
        return found

    @translated
    def push_drain(self, worker: str, on: bool) -> None:
        """Tell a worker to take nothing new, or to take again."""
        self.push({"do": "drain", "worker": worker, "on": on})

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
    return f"{worker}#{process}{number % 0x10000:04x}"


def process_of(term: str) -> str:
    """Tell which process a term is of."""
    return parse_term(term)[1][: 2 * PROCESS_BYTES]


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
