"""What is kept beside the shards' indexes: keys and their lives, services, workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from executions.registry import keys as names
from executions.registry.audit import KEPT
from executions.registry.indexes import CHUNK, EXISTING, has_bit
from executions.registry.invariants.findings import Finding
from executions.registry.invariants.judgement import SLACK_S, Moment
from executions.registry.invariants.pictures import Picture
from executions.registry.keys import kind_of, shard_keys
from executions.registry.rounds import Ask, ask, by_name, hget, hmget, run
from executions.registry.rows import read_ids, text
from executions.registry.services import UNSTARTED_S
from executions.registry.space import Space
from executions.registry.transitions import METRICS_CAP

#: Keys that one step of the look through all keys asks for.
KEYS_READ = 1000

#: Entries of a service, and workers, that one command asks for.
MEMBERS_READ = 500

#: By how much a stream may be over its cap: the server trims whole nodes.
ROUGHLY = 1.5
EVENTS_CAP = 10_000

#: Kinds of keys that end by themselves.
_MORTAL = frozenset({"log", "met", "answers", "worker", "leader", "group", "chord", "cache", "functions", "told",
    "session", "logins"})  # fmt: skip


class Elsewhere:
    """Looks at what is of no one shard; each step yields what it found."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._caps = {"log": space.settings.log_max_lines, "met": METRICS_CAP, "events": EVENTS_CAP, "audit": KEPT}

    def keys(self) -> Iterator[list[Finding]]:
        """Look at every key: is it known, does it end by itself, is it as small as it should be."""
        # A cursor for each node of a cluster: the driver keeps them, and asks for a bounded piece at a time.
        server = self._space.client
        every = server.scan_iter(match=names.all_keys(self._space.namespace), count=KEYS_READ)
        while found := [text(key) for key in islice(every, KEYS_READ)]:
            yield self._of_keys(found)

    def services(self) -> Iterator[list[Finding]]:
        """Look for slots of attempts that do not run, and for ended executions that still wait for a service."""
        namespace = self._space.namespace
        for (service,) in self._members("sscan", names.services(namespace)):
            for members in self._pages("zscan", names.service_slots(namespace, service)):
                yield self._stale_slots(service, members)
            for members in self._pages("zscan", names.service_parked(namespace, service)):
                yield self._stale_parked(service, [text(one) for one, _ in members])

    def workers(self, moment: Moment) -> Iterator[list[Finding]]:
        """Look for workers that are long lost, and not cleared away."""
        gone_us = moment.now_us - (2 * moment.lease_s + SLACK_S) * 1_000_000
        for term, ends_s in moment.terms.items():
            # One that is being cleared up after has no end; what it said of itself stays for ten leases.
            said = self._ask(by_name("exists", names.worker(self._space.namespace, term))) if ends_s <= 0 else [1]
            if not said[0] or 0 < ends_s * 1_000_000 < gone_us:
                yield [Finding("dead-term", term, "its lease ended long ago, and nobody has cleared up after it")]

    def unawaited(self, waiting: Sequence[Picture]) -> list[Finding]:
        """Give those of some executions that wait for a service which knows nothing of it."""
        namespace = self._space.namespace
        places = self._ask(
            *(by_name("zscore", names.service_parked(namespace, one.raw["sv"]), one.id) for one in waiting)
        )
        found = "it waits for service {!r}, which knows nothing of it"
        return [
            Finding("waits-for-nobody", one.id, found.format(one.raw["sv"]), one.shard, one.number)
            for one, place in zip(waiting, places, strict=True)
            if place is None
        ]

    def _ask(self, *asks: Ask) -> list[Any]:
        return ask(self._space.client, *asks)

    def _pages(self, command: str, key: str) -> Iterator[Any]:
        cursor = 0
        while True:
            cursor, found = self._ask(by_name(command, key, cursor, None, MEMBERS_READ))[0]
            if found:
                yield found
            if not cursor:
                return

    def _members(self, command: str, key: str) -> Iterator[tuple[str, ...]]:
        for page in self._pages(command, key):
            for one in page:
                yield (text(one[0]), str(one[1])) if isinstance(one, tuple) else (text(one),)

    def _of_keys(self, found: Sequence[str]) -> list[Finding]:
        namespace, findings, records = self._space.namespace, [], []
        asks: list[Ask] = []
        looked: list[tuple[str, str, int, str]] = []
        for key in found:
            kind, shard, name = kind_of(namespace, key)
            if not kind:
                findings.append(Finding("unknown-key", key, "no part of the system writes such a key"))
            elif kind == "x":
                records.append((shard, name))
            elif kind in _MORTAL or kind in self._caps:
                looked.append((key, kind, shard, name))
                asks += [by_name("ttl", key), by_name("xlen", key) if kind in self._caps else by_name("exists", key)]
        replies = self._ask(*asks)
        for at, (key, kind, shard, _) in enumerate(looked):
            life_s, size = replies[2 * at : 2 * at + 2]
            if kind in _MORTAL and life_s == -1:
                findings.append(Finding("no-life", key, "it is kept for ever", shard))
            if kind in self._caps and size > self._caps[kind] * ROUGHLY:
                findings.append(Finding("over-cap", key, f"it has {size} entries", shard))
        return findings + self._unlisted(records)

    def _unlisted(self, records: Sequence[tuple[int, str]]) -> list[Finding]:
        """Give the records that no list shows: their number does not exist, or is another's."""
        owned = [shard_keys(self._space.namespace, shard) for shard, _ in records]
        numbers = self._ask(*(hget(keys.record(one), "no") for keys, (_, one) in zip(owned, records, strict=True)))
        known = [
            (keys, one, int(number))
            for keys, (_, one), number in zip(owned, records, numbers, strict=True)
            if number and number.isdigit()
        ]
        bits = self._ask(*(hmget(keys.index, [f"{EXISTING}/{number // CHUNK}"]) for keys, _, number in known))
        suspects = [one for one, (bitmap,) in zip(known, bits, strict=True) if not has_bit(bitmap, one[2])]
        findings = []
        for keys, one, number in suspects:
            # Pruned meanwhile, or submitted between the two looks.
            now, (bitmap,) = self._ask(
                hget(keys.record(one), "no"), hmget(keys.index, [f"{EXISTING}/{number // CHUNK}"])
            )
            listed = run(self._space.client, [read_ids(keys, [number])])[0].get(number)
            if now is not None and int(now) == number and not (has_bit(bitmap, number) and listed == one):
                findings.append(
                    Finding("unlisted-record", one, f"number {number} does not lead to it", keys.shard, number)
                )
        return findings

    def _stale_slots(self, service: str, members: Sequence[tuple[bytes, float]]) -> list[Finding]:
        tickets = [(text(ticket), since) for ticket, since in members]
        parts = [ticket.rpartition("/") for ticket, _ in tickets]
        asks = [hmget(self._space.keys(one).record(one), ("st", "at")) for one, _, _ in parts]
        now_s, records = self._space.client.time()[0], self._ask(*asks)
        before_us = (now_s - UNSTARTED_S - SLACK_S) * 1_000_000
        return [
            Finding(
                "stale-slot",
                one,
                f"attempt {attempt} holds a slot of service {service!r} and does not run",
                0,
                None,
                (service,),
            )
            for (one, _, attempt), (_, since), (status, number) in zip(parts, tickets, records, strict=True)
            if since < before_us and not (status == b"running" and attempt in ("0", text(number or b"")))
        ]

    def _stale_parked(self, service: str, ids: Sequence[str]) -> list[Finding]:
        asks = [hmget(self._space.keys(one).record(one), ("st", "fi")) for one in ids]
        now_s, records = self._space.client.time()[0], self._ask(*asks)
        before_us = (now_s - SLACK_S) * 1_000_000
        return [
            Finding("stale-parked", one, f"it waits for service {service!r}, and has ended", 0, None, (service,))
            for one, (status, finished) in zip(ids, records, strict=True)
            if status not in (b"pending", b"running") and int(finished or 0) < before_us
        ]
