"""A registry of a test's own, with everything that may be known of it, and the check that it agrees with itself."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from executions.execution import Execution
from executions.ids import new_id
from executions.parts import Parts
from executions.query.fields import FIELDS
from executions.registry.indexes import numbers_in
from executions.registry.keys import ShardKeys
from executions.registry.records import decode_record
from executions.registry.rows import ID_CHUNK
from executions.registry.submission import Submission
from executions.registry.transitions import RETENTION_SLACK_S, Ending
from executions.settings import Settings
from executions.states import TERMINAL, Reason, Status

#: Where a record keeps what it is listed under.
TERM_CODES = {
    "st": "status", "fn": "function", "sv": "service", "qu": "queue", "pl": "pipeline", "sg": "stage",
    "pa": "parent", "ro": "root", "wk": "worker", "nm": "name",
}  # fmt: skip

COUNTED = {name for name, field in FIELDS.items() if field.counted}

SUCCESS = Ending(status=Status.SUCCESS, result="7", fields=("out", "7", "cp", 1000, "mm", 2048))
CACHED = Ending(status=Status.CACHED, result="7", fields=("out", "7", "src", "another"))
ERROR = '{"exc_type":"ValueError","exc_message":["boom"],"exc_module":"builtins"}'
FAILURE = Ending(
    status=Status.FAILED, reason=Reason.ERROR, message="ValueError: boom", result=ERROR, fields=("er", ERROR)
)
REJECTED = Ending(status=Status.FAILED, reason=Reason.REJECTED, message="no such function", fields=("er", ERROR))
STOPPED = Ending(status=Status.TERMINATED, reason=Reason.REQUESTED)

Raw = dict[str, str]


class World:
    """One registry, and the ids that the test has given to it."""

    def __init__(self, url: str, namespace: str, shards: int, broker: str = "") -> None:
        self.settings = Settings(url=url, broker=broker, namespace=namespace, shards=shards, principal="ann@desk")
        self.parts = Parts(self.settings)
        self.space = self.parts.space
        self.transitions = self.parts.transitions
        self.queue = f"q-{namespace}"
        self.ids: list[str] = []

    # -- verbs with the arguments that do not matter here --

    def submission(self, execution_id: str | None = None, **fields: Any) -> Submission:
        execution_id = execution_id or new_id()
        if execution_id not in self.ids:
            self.ids.append(execution_id)
        given = {"function": "shop.add", "inputs": "[[1,2],{}]", "queue": self.queue, "principal": "ann@desk"}
        return Submission(id=execution_id, **{**given, **fields})

    def submit(self, execution_id: str | None = None, **fields: Any) -> str:
        submission = self.submission(execution_id, **fields)
        self.transitions.submit(submission)
        return submission.id

    def start(self, execution_id: str, attempt: int | None = 1, worker: str = "w1@host") -> Any:
        return self.transitions.start(execution_id, attempt, worker=worker, pid=4711, pool="prefork")

    def terminate(self, execution_id: str, cause: str = "wrong data") -> Any:
        return self.transitions.terminate(
            execution_id, principal="bob@desk", cause=cause, mode="checkpoint", grace_s=None, at_us=1
        )

    def rerun(self, execution_id: str) -> Any:
        return self.transitions.rerun(execution_id, principal="bob@desk")

    def due(self, execution_id: str) -> Any:
        """Have the time come, and take what is owed."""
        self.space.client.zadd(self.space.keys(execution_id).due, {execution_id: 1}, xx=True)
        return self.transitions.due([execution_id])[0]

    def unpark(self, execution_id: str) -> Any:
        return self.transitions.park(execution_id, reason=Reason.QUEUED, publish=True)

    # -- what is there --

    def raw(self, execution_id: str) -> Raw:
        found = self.space.client.hgetall(self.space.keys(execution_id).record(execution_id))
        return {key.decode(): value.decode() for key, value in found.items()}

    def picture(self, execution_id: str) -> Execution:
        return decode_record(execution_id, self.raw(execution_id))

    def state(self, execution_id: str) -> tuple[str, str, int]:
        raw = self.raw(execution_id)
        return (raw["st"], raw["rs"], int(raw["at"])) if raw else ("missing", "", 0)

    def entries(self, execution_id: str) -> list[str]:
        """Give the status log as words: `running/started`."""
        raw = self.raw(execution_id)
        return [raw[str(n)].split("|")[0].rstrip("/") for n in sorted(int(key) for key in raw if key.isdigit())]

    def snapshot(self) -> dict[str, Any]:
        """Read everything: of each shard, and of each execution. Times to live are read as whether there is one."""
        client, found = self.space.client, {}
        for name in self.names():
            kind = client.type(name).decode()
            read = {
                "none": lambda _: None,
                "hash": client.hgetall,
                "zset": lambda key: client.zrange(key, 0, -1, withscores=True),
                "stream": client.xrange,
                "string": client.get,
                "set": client.smembers,
            }[kind]
            found[name] = (read(name), client.ttl(name) > 0)
        return found

    def names(self) -> list[str]:
        """Give every key that there can be of what the test has made."""
        names = [name for keys in self.space.all_keys() for name in shard_names(keys)]
        for one in self.ids:
            keys = self.space.keys(one)
            attempts = int(self.space.client.hget(keys.record(one), "at") or 0)
            names += [keys.record(one), keys.metrics(one), *(keys.log(one, k) for k in range(1, attempts + 2))]
        return names

    # -- whether it agrees with itself --

    def check(self) -> None:
        """Compare indexes, counts, times, outbox, stops and status logs with the records."""
        by_shard: dict[int, dict[str, Raw]] = {keys.shard: {} for keys in self.space.all_keys()}
        for one in self.ids:
            raw = self.raw(one)
            if raw:
                by_shard[self.space.shard(one)][one] = raw
                self._check_record(one, raw)
        for keys in self.space.all_keys():
            self._check_shard(keys, by_shard[keys.shard])

    def _check_record(self, one: str, raw: Raw) -> None:
        numbers = sorted(int(key) for key in raw if key.isdigit())
        assert numbers == list(range(1, int(raw["ls"]) + 1)), "the status log has gaps"
        picture = decode_record(one, raw)
        log = picture.status_log
        assert (log[-1]["status"], log[-1]["reason"]) == (picture.status, picture.reason)
        assert [entry["timestamp"] for entry in log] == sorted(entry["timestamp"] for entry in log)
        assert [entry["attempt"] for entry in log] == sorted(entry["attempt"] for entry in log)
        assert sum(entry["reason"] == "started" for entry in log) == picture.attempt
        assert [attempt.number for attempt in picture.attempts_log] == list(range(1, picture.attempt + 1))
        left = self.space.client.ttl(self.space.keys(one).record(one))
        life = self.settings.retention_s + RETENTION_SLACK_S
        assert 0 < left <= life if picture.is_done else left == -1

    def _check_shard(self, keys: ShardKeys, records: dict[str, Raw]) -> None:
        client = self.space.client
        terms, counts = _expected_terms(records)
        assert _index(client.hgetall(keys.index)) == terms
        assert {name.decode(): int(n) for name, n in client.hgetall(keys.counts).items()} == counts

        started = {raw["no"]: int(raw["sd"]) for raw in records.values() if "sd" in raw}
        finished = {raw["no"]: int(raw["fi"]) for raw in records.values() if raw["st"] in TERMINAL}
        assert _scores(client, keys.started) == started
        assert _scores(client, keys.finished) == finished
        assert set(_scores(client, keys.duration)) == {raw["no"] for raw in records.values() if _ran_to_its_end(raw)}
        waiting = {one for one, raw in records.items() if raw["st"] == "pending" and raw["rs"] != "waiting"}
        outbox, due = set(_scores(client, keys.outbox)), set(_scores(client, keys.due))
        assert outbox | due == waiting
        assert {one for one in waiting if records[one]["rs"] == "scheduled"} <= due - outbox
        asked = {one for one, raw in records.items() if raw["st"] == "running" and "tt" in raw}
        assert {name.decode() for name in client.hgetall(keys.stops)} == asked
        packed = client.hgetall(keys.ids)
        for one, raw in records.items():
            number = int(raw["no"])
            at = number % ID_CHUNK * 16
            known = packed.get(f"x{number}".encode(), b"").decode()
            assert known or packed[str(number // ID_CHUNK).encode()][at : at + 16].hex() == one.replace("-", "")
            assert known in ("", one)


def shard_names(keys: ShardKeys) -> list[str]:
    """Give the keys of a shard that belong to no single execution."""
    return [
        keys.index, keys.counts, keys.ids, keys.started, keys.finished, keys.duration, keys.marks, keys.outbox,
        keys.due, keys.stops, keys.events, keys.meta,
    ]  # fmt: skip


def _expected_terms(records: dict[str, Raw]) -> tuple[dict[str, set[int]], dict[str, int]]:
    terms: dict[str, set[int]] = defaultdict(set)
    counts: dict[str, int] = defaultdict(int)
    for raw in records.values():
        number = int(raw["no"])
        terms["*"].add(number)
        if "sd" in raw:
            terms["has:started"].add(number)
        if "nc" in raw:
            terms["has:note"].add(number)
        for code, field in TERM_CODES.items():
            if raw.get(code):
                terms[f"{field}:{raw[code]}"].add(number)
                if field in COUNTED:
                    counts[f"{field}:{raw[code]}"] += 1
        for tag in json.loads(raw.get("tg", "[]")):
            terms[f"tag:{tag}"].add(number)
        for bulk in raw.get("bk", "").split():
            terms[f"bulk:{bulk}"].add(number)
    return dict(terms), dict(counts)


def _index(raw: dict[bytes, bytes]) -> dict[str, set[int]]:
    found: dict[str, set[int]] = defaultdict(set)
    for name, bitmap in raw.items():
        term, _, chunk = name.decode().rpartition("/")
        found[term].update(numbers_in(int(chunk), bitmap))
    return dict(found)


def _scores(client: Any, key: str) -> dict[str, int]:
    return {member.decode(): int(score) for member, score in client.zrange(key, 0, -1, withscores=True)}


def _ran_to_its_end(raw: Raw) -> bool:
    """Tell whether it has ended from running, and not while it waited."""
    return raw["st"] in TERMINAL and raw[str(int(raw["ls"]) - 1)].startswith("running/")
