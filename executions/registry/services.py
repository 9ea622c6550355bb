"""Services in the registry: their policies and versions, who may start now and who has to wait.

A process keeps what it has read for `FRESH_S`. A change is pushed to the workers' parents, which tell their
children through a number in memory that they share; a push that is missed costs those seconds, no more. So a
service without a limit that is not paused starts its executions without asking the server anything.

A limited or paused service is asked at each start, in one script: it lets the attempt in or parks its
execution. A slot belongs to a ticket, `<id>/<attempt>`: a late leave of an old attempt cannot free the slot
of the next one. Who can die when, and what then happens:

| dies | what is left | who mends it |
|---|---|---|
| worker between the refusal and `park` | parked here, still in the outbox | the releaser, or the publisher |
| worker between entering and `start` | a slot, pending in the outbox | the publisher; `reclaim` |
| worker that runs it | a slot, an execution without an owner | the rescuer ends the attempt; then `reclaim` |
| worker between the function's end and leaving | a slot of an ended attempt | `reclaim`: when full, or the waker |
| releaser between choosing and `park(publish=True)` | chosen, record still `waiting` | the waker sends it on again |
| releaser between `park(publish=True)` and the message | chosen, in the outbox | the publisher |
| who terminates, before `unpark` | parked here, record ended | whoever chooses it next drops it |
| who resumes, half-way | some still parked | the waker |
| who sets the first limit, before `adopt` | attempts without a slot | the waker adopts them |
| who updates, before the push | the new version stands | every reader, within `FRESH_S` |
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from executions.clock import SYSTEM_CLOCK
from executions.errors import Conflict, NotFound
from executions.ids import new_id
from executions.policy import NO_POLICY, Policy
from executions.registry import keys, scripts
from executions.registry.connection import translated
from executions.registry.service_records import Declaration, merged, state_of, written
from executions.registry.space import Space
from executions.service import ServiceSettings, ServiceState, changes_between

#: Seconds that a process may work by what it has read: the most that a missed push can cost.
FRESH_S = 2.0

#: Seconds after which a slot is taken back whose execution has not started; entering and starting take ms.
UNSTARTED_S = 30.0

#: Seconds between two looks of one process at whether the slots of a full service are used.
RECLAIM_S = 2.0

#: Services, slots and parked executions that are looked at in one go.
BATCH = 500


@dataclass(frozen=True)
class Permit:
    """Whether an execution of a service may start now."""

    granted: bool
    why: str = ""
    version: int | None = None
    #: What holds the slot; empty where the service has no limit.
    ticket: str = ""
    #: Whether this call took the slot, and did not find it taken by the same attempt.
    fresh: bool = False


class Services:
    """Reads and writes about services."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._cache: dict[str, tuple[int, float, ServiceState | None]] = {}
        self._reclaimed: dict[str, float] = {}
        self._undeclared: dict[str, Declaration] = {}
        # Shared with the children that are forked after this: what a parent hears reaches them as well.
        self._generation = memoryview(mmap.mmap(-1, 8)).cast("Q")

    # -- reading --

    def state(self, name: str) -> ServiceState | None:
        """Give a service as this process knows it, at most `FRESH_S` old."""
        generation, now = self._generation[0], SYSTEM_CLOCK.monotonic()
        known = self._cache.get(name)
        if known is not None and known[0] == generation and known[1] > now:
            return known[2]
        state = self.current(name)
        self._cache[name] = (generation, now + FRESH_S, state)
        return state

    def current(self, name: str) -> ServiceState | None:
        """Read a service; one that was deployed here while the server was away is stored first."""
        waiting = self._undeclared.get(name)
        # Not waiting for answers: it may be a worker's own ear that asks here.
        return self.read(name) if waiting is None else self.deploy(waiting, wait=False)

    def policy(self, name: str) -> Policy:
        """Give the policy of a service as it is now."""
        state = self.state(name)
        return NO_POLICY if state is None else state.settings.policy

    @translated
    def read(self, name: str) -> ServiceState | None:
        """Read a service from the server; `None` where there is none."""
        raw = self._space.client.hgetall(self._key(name))
        return state_of(name, raw) if raw else None

    @translated
    def all(self) -> list[ServiceState]:
        """Give the services by name, at most `BATCH` of them."""
        client, found = self._space.client, []
        names = sorted(name.decode() for name in self._names())[:BATCH]
        pipeline = client.pipeline(transaction=False)
        for name in names:
            pipeline.hgetall(self._key(name))
        for name, raw in zip(names, pipeline.execute(), strict=True):
            if raw:
                found.append(state_of(name, raw))
        return found

    # -- writing --

    @translated
    def deploy(self, declared: Declaration, *, wait: bool = True) -> ServiceState:
        """Create a service; where it exists, put in force only what the code declares otherwise than before.

        What people have updated since stays, so a restart of a worker reverts nothing.
        """
        while True:
            raw: Any = self._space.client.hgetall(self._key(declared.name))
            if not raw:
                fields = ["id", new_id(), *written(declared.settings, declared.principal)]
                fields += ["functions", json.dumps(dict(declared.functions)), "declared", declared.encode()]
                outcome = self._write(declared.name, 0, fields)
            elif raw.get(b"declared", b"").decode() == declared.encode():
                self._undeclared.pop(declared.name, None)
                return state_of(declared.name, raw)
            else:
                now = state_of(declared.name, raw)
                fields = [*written(merged(now.settings, raw.get(b"declared"), declared), declared.principal)]
                fields += ["functions", json.dumps(dict(declared.functions)), "declared", declared.encode()]
                outcome = self._write(declared.name, now.version, fields)
            if outcome == b"ok":
                self.announce(declared.name, wait=wait)

    def deploy_later(self, declared: Declaration) -> ServiceState:
        """Keep a declaration until the server can be reached: importing a module must not need one."""
        self._undeclared[declared.name] = declared
        return ServiceState(
            name=declared.name, id="", version=0, settings=declared.settings, functions=declared.functions
        )

    @translated
    def update(
        self, known: ServiceState, settings: ServiceSettings, *, principal: str, force: bool = False
    ) -> ServiceState:
        """Write the next version; raise `Conflict` where the known one is not in force any more."""
        outcome = self._write(known.name, known.version, written(settings, principal), force)
        if outcome == b"ok":
            self.announce(known.name)
        now = self.read(known.name)
        if outcome == b"missing" or now is None:
            raise NotFound(f"no service {known.name!r}")
        if outcome == b"conflict":
            changed = changes_between(known.settings, now.settings) or "nothing that shows"
            raise Conflict(
                f"service {known.name!r} has version {now.version}, you changed version {known.version}; "
                f"since then {now.updated_by or 'somebody'} changed {changed}: refresh and try again"
            )
        return now

    @translated
    def set_paused(self, name: str, paused: bool, *, principal: str) -> ServiceState:
        """Pause or resume; settings and version stay as they are."""
        client = self._space.client
        if self.read(name) is None:
            raise NotFound(f"no service {name!r}")
        client.hset(self._key(name), mapping={"paused": "1" if paused else "", "updated_by": principal})
        self.announce(name)
        now = self.read(name)
        assert now is not None
        return now

    @translated
    def remove(self, name: str) -> None:
        """Forget a service; raise `Conflict` while executions wait for it."""
        namespace = self._space.namespace
        places = (keys.services(namespace), keys.service_slots(namespace, name), keys.service_parked(namespace, name))
        word, *rest = scripts.SERVICE_REMOVE(self._space.client, (self._key(name), *places), (name,))
        if word == b"parked":
            raise Conflict(f"{rest[0]} executions wait for service {name!r}: resume it or terminate them first")
        self.announce(name)
        if word == b"missing":
            raise NotFound(f"no service {name!r}")

    # -- telling others --

    def forget(self, name: str) -> None:
        """Read a service anew at its next use, here and in the child processes."""
        self._cache.pop(name, None)
        self._generation[0] += 1

    def announce(self, name: str, *, wait: bool = True) -> None:
        """Make every process read a service anew; return once the workers have heard, or after `FRESH_S`.

        So what starts after an update or a pause that has returned starts under it.
        """
        self.forget(name)
        client, namespace, nonce = self._space.client, self._space.namespace, new_id()
        command = json.dumps({"do": "services", "name": name, "answer": nonce})
        listening = int(client.publish(keys.commands(namespace), command))
        deadline = SYSTEM_CLOCK.monotonic() + FRESH_S
        for _ in range(listening if wait else 0):
            left = deadline - SYSTEM_CLOCK.monotonic()
            if left <= 0 or not client.blpop([keys.answers(namespace, nonce)], timeout=max(left, 0.01)):
                return

    @translated
    def answer(self, nonce: str, worker: str) -> None:
        """Say that this worker has heard."""
        key = keys.answers(self._space.namespace, nonce)
        pipeline = self._space.client.pipeline(transaction=False)
        pipeline.rpush(key, worker)
        pipeline.expire(key, 10)
        pipeline.execute()

    # -- who may start --

    def enter(self, name: str, execution_id: str, attempt: int = 0) -> Permit:
        """Ask for a slot of a service. A refused execution is parked here; the caller parks its record."""
        state = self.state(name)
        if state is None:
            return Permit(True)
        if state.settings.concurrency is None and not state.paused:
            return Permit(True, version=state.version)
        permit = self._enter(name, execution_id, attempt)
        if not permit.granted and permit.ticket and self._reclaim_if_due(name):
            permit = self._enter(name, execution_id, attempt)
        return permit

    @translated
    def _enter(self, name: str, execution_id: str, attempt: int) -> Permit:
        ticket = f"{execution_id}/{attempt}"
        word, *rest = scripts.SERVICE_ENTER(
            self._space.client, (self._key(name), *self._places(name)), (ticket, execution_id)
        )
        if word == b"unknown":
            return Permit(True)
        version = int(rest[0])
        if word == b"paused":
            who = rest[1].decode()
            return Permit(False, f"service {name!r} is paused{f' by {who}' if who else ''}", version)
        if word == b"full":
            why = f"service {name!r} runs {int(rest[1])} at once, its limit"
            return Permit(False, why, version, ticket)
        if word == b"free":
            return Permit(True, version=version)
        return Permit(True, "", version, ticket, fresh=word == b"in")

    @translated
    def leave(self, name: str, ticket: str = "", most: int = 1) -> list[str]:
        """Give a slot back (or, without a ticket, only look for room); give the parked ids to send on."""
        chosen = scripts.SERVICE_LEAVE(
            self._space.client, (self._key(name), *self._places(name)), (ticket, min(most, BATCH))
        )
        return [one.decode() for one in chosen]

    @translated
    def unpark(self, name: str, execution_ids: Iterable[str]) -> None:
        """Forget that executions wait: they have ended."""
        gone = list(execution_ids)
        if gone:
            self._space.client.zrem(keys.service_parked(self._space.namespace, name), *gone)

    @translated
    def parked(self, name: str, *, chosen: bool = False, limit: int = BATCH) -> list[str]:
        """List what waits, in order; or what was chosen to be sent on and has not entered yet."""
        lowest, highest = ("-inf", "(0") if chosen else ("(0", "+inf")
        key = keys.service_parked(self._space.namespace, name)
        found = self._space.client.zrangebyscore(key, lowest, highest, start=0, num=limit)
        return [one.decode() for one in found]

    @translated
    def running(self, name: str) -> int:
        """Count the slots in use; services without a limit use none."""
        return int(self._space.client.zcard(keys.service_slots(self._space.namespace, name)))

    @translated
    def reclaim(self, name: str) -> int:
        """Take back slots whose attempts do not run, and have had time to; give how many."""
        client, key = self._space.client, keys.service_slots(self._space.namespace, name)
        held: Any = client.zrange(key, 0, BATCH - 1, withscores=True)
        if not held:
            return 0
        seconds, micros = client.time()
        pipeline = client.pipeline(transaction=False)
        for ticket, _ in held:
            execution_id = ticket.decode().rpartition("/")[0]
            pipeline.hmget(self._space.keys(execution_id).record(execution_id), "st", "at")
        records = pipeline.execute()
        unstarted_us = (seconds - UNSTARTED_S) * 1_000_000 + micros
        stale: list[Any] = []
        for (ticket, since_us), (status, number) in zip(held, records, strict=True):
            if _is_stale(ticket.decode(), status, number, since_us < unstarted_us):
                stale += (ticket, f"{since_us:.0f}")
        return int(scripts.SERVICE_RECLAIM(client, (key,), tuple(stale))) if stale else 0

    @translated
    def adopt(self, name: str, tickets: Iterable[str]) -> int:
        """Give slots to attempts that started before the service had a limit, so that they count; give how many."""
        places = {ticket: round(SYSTEM_CLOCK.now() * 1_000_000) for ticket in tickets}
        key = keys.service_slots(self._space.namespace, name)
        return int(self._space.client.zadd(key, places, nx=True)) if places else 0

    def _reclaim_if_due(self, name: str) -> bool:
        now = SYSTEM_CLOCK.monotonic()
        if self._reclaimed.get(name, 0.0) > now:
            return False
        self._reclaimed[name] = now + RECLAIM_S
        return self.reclaim(name) > 0

    # -- places --

    def _key(self, name: str) -> str:
        return keys.service(self._space.namespace, name)

    def _places(self, name: str) -> tuple[str, str]:
        namespace = self._space.namespace
        return keys.service_slots(namespace, name), keys.service_parked(namespace, name)

    def _names(self) -> Iterable[bytes]:
        found: set[bytes] = set()
        for name in self._space.client.sscan_iter(keys.services(self._space.namespace), count=BATCH):
            found.add(name)
            if len(found) >= BATCH:
                break
        return found

    def _write(self, name: str, known: int, fields: list[Any], force: bool = False) -> bytes:
        word, *_ = scripts.SERVICE_WRITE(
            self._space.client,
            (self._key(name), keys.services(self._space.namespace)),
            (name, known, "1" if force else "", len(fields), *fields),
        )
        return bytes(word)


def _is_stale(ticket: str, status: bytes | None, number: bytes | None, had_time: bool) -> bool:
    attempt, started = int(ticket.rpartition("/")[2]), int(number or 0)
    if status == b"running":
        # Attempt 0 stands for a message that did not name one: it is whichever runs.
        return attempt not in (0, started)
    if status is None or (status == b"pending" and attempt in (0, started + 1)):
        # It has entered and is about to start; a message from elsewhere is recorded only then.
        return had_time
    return True
