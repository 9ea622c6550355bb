"""A live registry is looked through for broken promises: each is found by its name, and mended where that can be."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from executions import Client
from executions.clock import SYSTEM_CLOCK
from executions.parts import Parts
from executions.registry import keys as names
from executions.registry.connection import client_for
from executions.registry.indexes import CHUNK
from executions.registry.invariants import CODES
from executions.registry.invariants.statuslog import expected_entries, judge_log
from executions.registry.transitions import Ending, Started, Submission
from executions.settings import Settings
from executions.states import Reason, Status
from executions.upkeep.pruner import Pruner
from tests.integration.randomly import Registry, make_registry

LONG_AGO_US = 1_000_000_000_000_000
WORKER = "celery@one"


@pytest.fixture(params=[1, 16], ids=["1 shard", "16 shards"])
def registry(request: pytest.FixtureRequest, server_url: str, namespace: str) -> Registry:
    return make_registry(server_url, namespace, request.param)


@pytest.fixture
def client(registry: Registry) -> Client:
    known = registry.space.settings
    # Settled before another thread uses it: the client would settle for one shard.
    assert registry.space.shards == known.shards
    return Client(Parts(Settings(url=known.url, namespace=known.namespace)))


class Breaker:
    """One execution in each state, and hands that write keys as nobody may."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.server: Any = client_for(registry.space.url)
        Parts(registry.space.settings).workers.beat(f"{WORKER}#1", {}, anew=True)
        self.pending = self.submit()
        self.running = self.submit()
        registry.transitions.start(self.running, None, worker=WORKER, pid=1, pool="solo", claim="1.7")
        self.ended = self.submit()
        started = registry.transitions.start(self.ended, None, worker=WORKER, pid=1, pool="solo")
        assert isinstance(started, Started)
        registry.transitions.finish(self.ended, 1, Ending(status=Status.SUCCESS))

    def submit(self, **more: Any) -> str:
        from_registry = self.registry
        one = f"one-{from_registry.rng.random()}"
        submission = Submission(id=one, function="f", inputs="[[],{}]", queue="q", tags=("t",), **more)
        from_registry.transitions.submit(submission)
        from_registry.ids.append(one)
        return one

    def keys(self, one: str) -> Any:
        return self.registry.space.keys(one)

    def record(self, one: str) -> str:
        return str(self.keys(one).record(one))

    def number(self, one: str) -> int:
        return int(self.server.hget(self.record(one), "no"))

    def set(self, one: str, **fields: Any) -> None:
        self.server.hset(self.record(one), mapping=fields)

    def note(self, one: str, **properties: str) -> None:
        fields = [part for name, text in properties.items() for part in (f"p.{name}", text)]
        self.registry.transitions.annotate(one, None, fields=fields)

    def age(self, one: str) -> None:
        """Let an execution's last change be long ago."""
        length = self.server.hget(self.record(one), "ls").decode()
        head, _, rest = self.server.hget(self.record(one), length).decode().partition("|")
        self.set(one, **{length: f"{head}|{LONG_AGO_US}|{rest.partition('|')[2]}"})

    def age_start(self, one: str) -> None:
        self.age(one)
        self.set(one, sd=LONG_AGO_US)
        self.server.zadd(self.keys(one).started, {self.number(one): LONG_AGO_US})

    def flip(self, term: str, one: str) -> None:
        number = self.number(one)
        field, at = f"{term}/{number // CHUNK}", number % CHUNK
        bits = bytearray((self.server.hget(self.keys(one).index, field) or b"").ljust(CHUNK // 8, b"\0"))
        bits[at >> 3] ^= 1 << (at & 7)
        self.server.hset(self.keys(one).index, field, bytes(bits))

    # -- one for each promise; each gives what the finding is about, where that is an execution --

    def no_record(self) -> str:
        self.server.delete(self.record(self.ended))
        return self.ended

    def bad_record(self) -> str:
        self.set(self.running, sd="yesterday")
        return self.running

    def broken_log(self) -> str:
        self.server.hdel(self.record(self.running), "1")
        return self.running

    def lost_attempt(self) -> str:
        self.registry.transitions.rerun(self.ended, principal="ann")
        self.server.hdel(self.record(self.ended), "a1")
        return self.ended

    def changed_end(self) -> str:
        entry = self.server.hget(self.record(self.ended), "3").decode()
        self.set(self.ended, st="failed", rs="error", **{"3": entry.replace("success/", "failed/error")})
        self.flip("status:success", self.ended)
        self.flip("status:failed", self.ended)
        self.server.hdel(self.keys(self.ended).counts, "status:success")
        self.server.hset(self.keys(self.ended).counts, "status:failed", 1)
        return self.ended

    def wrong_life(self) -> str:
        self.server.persist(self.record(self.ended))
        return self.ended

    def wrong_index(self) -> str:
        self.flip("tag:t", self.running)
        return self.running

    def stray_index(self) -> str:
        self.flip("tag:other", self.running)
        return self.running

    def wrong_times(self) -> str:
        self.server.zrem(self.keys(self.ended).finished, self.number(self.ended))
        return self.ended

    def stray_member(self) -> str:
        self.server.zadd(self.keys(self.ended).started, {"999": 1})
        return ""

    def wrong_count(self) -> str:
        self.server.hincrby(self.keys(self.ended).counts, "queue:q", 1)
        return ""

    def missing_value(self) -> str:
        self.note(self.ended, lr="0.1", team='"red"')
        (member, *_) = self.server.zrange(self.keys(self.ended).values, 0, -1)
        self.server.zrem(self.keys(self.ended).values, member)
        return self.ended

    def stray_value(self) -> str:
        for value in ("0.1", "0.2"):
            self.note(self.running, lr=value)
        self.server.zadd(self.keys(self.running).values, {b"p.team\0tred\0%d" % self.number(self.running): 0})
        return self.running

    def missing_mark(self) -> str:
        keys = self.keys(self.ended)
        self.server.hset(keys.meta, "number", 2 * CHUNK)
        self.server.zadd(keys.marks, {"1": 1, str(2 * CHUNK): 2})
        return ""

    def unlisted_record(self) -> str:
        self.server.hset(f"{self.record(self.ended)}-copy", mapping={"no": 777})
        return f"{self.ended}-copy"

    def no_owner(self) -> str:
        self.age_start(self.running)
        self.set(self.running, wk="celery@gone", ck="2.7")
        self.flip(f"worker:{WORKER}", self.running)
        self.flip("worker:celery@gone", self.running)
        counts = self.keys(self.running).counts
        if self.server.hincrby(counts, f"worker:{WORKER}", -1) == 0:
            self.server.hdel(counts, f"worker:{WORKER}")
        self.server.hset(counts, "worker:celery@gone", 1)
        return self.running

    def past_deadline(self) -> str:
        self.age_start(self.running)
        self.set(self.running, op='{"execution_timeout":5}')
        return self.running

    def stuck_stopping(self) -> str:
        self.stop()
        self.age(self.running)
        return self.running

    def past_expiry(self) -> str:
        self.set(self.pending, ex=LONG_AGO_US)
        return self.pending

    def not_in_outbox(self) -> str:
        self.server.zrem(self.keys(self.pending).outbox, self.pending)
        self.age(self.pending)
        return self.pending

    def overdue(self) -> str:
        self.server.zadd(self.keys(self.pending).due, {self.pending: LONG_AGO_US})
        return self.pending

    def stale_outbox(self) -> str:
        self.server.zadd(self.keys(self.ended).outbox, {self.ended: 1})
        return self.ended

    def no_stop(self) -> str:
        self.stop()
        self.server.hdel(self.keys(self.running).stops, self.running)
        return self.running

    def stale_stop(self) -> str:
        self.server.hset(
            self.keys(self.ended).stops, self.ended, json.dumps({"worker": WORKER, "attempt": 1, "request": {}})
        )
        return self.ended

    def waits_for_nobody(self) -> str:
        one = self.submit(service="trainer")
        self.registry.transitions.park(one, reason=Reason.WAITING)
        self.age(one)
        self.set(one, cr=LONG_AGO_US, qd=LONG_AGO_US)
        return one

    def stale_slot(self) -> str:
        self.server.sadd(names.services(self.registry.space.namespace), "trainer")
        self.server.zadd(names.service_slots(self.registry.space.namespace, "trainer"), {f"{self.ended}/1": 1})
        return self.ended

    def stale_parked(self) -> str:
        self.server.sadd(names.services(self.registry.space.namespace), "trainer")
        self.server.zadd(names.service_parked(self.registry.space.namespace, "trainer"), {"gone": 1})
        return "gone"

    def dead_term(self) -> str:
        self.server.zadd(names.workers(self.registry.space.namespace), {"celery@gone#1": 1000})
        return "celery@gone#1"

    def no_life(self) -> str:
        self.server.xadd(self.keys(self.ended).log(self.ended, 1), {"x": "1"})
        return ""

    def over_cap(self) -> str:
        pipeline = self.server.pipeline(transaction=False)
        for _ in range(16_000):
            pipeline.xadd(self.keys(self.ended).metrics(self.ended), {"k": "1"})
        pipeline.expire(self.keys(self.ended).metrics(self.ended), 100)
        pipeline.execute()
        return ""

    def unknown_key(self) -> str:
        self.server.set(f"{self.registry.space.namespace}:mine", 1)
        return f"{self.registry.space.namespace}:mine"

    def stop(self) -> None:
        self.registry.transitions.terminate(
            self.running, principal="ann", cause="no", mode="soft", grace_s=None, at_us=0
        )


def codes(client: Client, **options: Any) -> list[str]:
    return sorted(finding.code for finding in client.invariants(**options).findings)


@pytest.mark.parametrize("code", sorted(CODES))
def test_a_broken_promise_is_found_by_its_name_and_no_other(code: str, registry: Registry, client: Client) -> None:
    # Given a registry in which every promise holds
    breaker = Breaker(registry)
    assert client.invariants().findings == ()
    # If somebody breaks one
    which = getattr(breaker, code.replace("-", "_"))()
    # I expect that to be found, with what it is about, and nothing else
    report = client.invariants()
    assert {finding.code for finding in report.findings} == {code}, report.findings
    assert not report.holds
    assert not which or {finding.id for finding in report.findings} == {which}
    # and that looking has changed nothing
    assert codes(client) == [finding.code for finding in report.findings]


MENDED = sorted(code for code, what in CODES.items() if what and code != "no-owner")


@pytest.mark.parametrize("code", MENDED)
def test_what_can_be_mended_is_mended_when_told(code: str, registry: Registry, client: Client) -> None:
    breaker = Breaker(registry)
    getattr(breaker, code.replace("-", "_"))()
    report = client.invariants(repair=True)
    assert [finding.repaired for finding in report.findings] == [True] * len(report.findings)
    # Of a lost record the terms are not known: the pruner's sweep clears what is left.
    expected = {"stray-index", "wrong-count"} if code == "no-record" else set()
    assert set(codes(client)) <= expected
    codes(client, repair=True)
    assert codes(client) == []


def test_what_nobody_owns_is_freed_by_the_upkeep_once_told(registry: Registry, client: Client) -> None:
    breaker = Breaker(registry)
    one = breaker.no_owner()
    assert client.invariants(repair=True).repaired == 1
    now_us = round(SYSTEM_CLOCK.now() * 1_000_000)
    assert Parts(registry.space.settings).workers.condemn(now_us) == ["celery@gone#2"]
    assert client.executions.get(one).status is Status.RUNNING


def test_executions_that_went_random_ways_keep_every_promise(registry: Registry, client: Client) -> None:
    for _ in range(300):
        registry.add()
    report = client.invariants()
    assert report.findings == ()
    assert report.holds
    everything = registry.all()
    assert (report.submitted, report.ended) == (300, sum(one.is_done for one in everything))
    assert report.live == 300 - report.ended


def test_change_while_it_looks_is_no_finding(registry: Registry, client: Client) -> None:
    # Given a registry in which others never rest
    ending = threading.Event()
    other = Registry(registry.space, registry.rng)

    def go_on() -> None:
        while not ending.is_set():
            other.add()

    writer = threading.Thread(target=go_on)
    writer.start()
    # I expect no finding, in any of several looks
    try:
        found = [finding for _ in range(8) for finding in client.invariants().findings]
    finally:
        ending.set()
        writer.join()
    assert found == []


def test_pruning_leaves_nothing_to_find(registry: Registry, client: Client) -> None:
    from_now = SYSTEM_CLOCK.now()
    for _ in range(100):
        registry.add()
    Pruner(Parts(Settings(**{**vars(registry.space.settings), "retention_s": 1}))).run_once(from_now + 10)
    report = client.invariants()
    assert report.findings == ()
    assert 0 < report.submitted < 100


def test_progress_tells_what_is_looked_at(registry: Registry, client: Client) -> None:
    registry.add()
    seen: list[tuple[str, int, int]] = []
    client.invariants(progress=lambda *step: seen.append(step))
    assert {"keys", "executions of shard 0", "index of shard 0"} <= {what for what, _, _ in seen}
    assert all(done > 0 and (done <= of or not of) for _, done, of in seen)


def test_a_long_log_lacks_its_middle_only() -> None:
    assert expected_entries(3) == [1, 2, 3]
    assert len(expected_entries(500)) == 500
    assert expected_entries(700)[18:22] == [19, 20, 221, 222]
    assert len(expected_entries(700)) == 500


@pytest.mark.parametrize(
    ("entries", "wrong"),
    [
        (["pending/queued|1|0||", "running/started|2|1||", "success/|3|1||"], ""),
        (["pending/queued|1|0||", "failed/rejected|3|0||", "pending/queued|4|0||"], "rerun only"),
        (["pending/queued|1|0||", "running/started|2|2||"], "attempts out of order"),
        (["pending/queued|1|0||", "running/started|2|1||", "running/started|3|1||"], "started twice"),
        (["running/started|2|1||"], "begins with running"),
        (["pending/queued|1|0||", "running/error|2|1||"], "no reason error"),
        (["pending/queued|1|0||", "terminated/cancelled|2|0||", "running/started|2|1||"], "is no move"),
    ],
)
def test_a_log_that_cannot_have_come_about_is_told(entries: list[str], wrong: str) -> None:
    texts = dict(enumerate(entries, 1))
    state, _, attempt, *_ = entries[-1].split("|")
    status, _, reason = state.partition("/")
    said = judge_log(texts, len(entries), (status, reason, int(attempt)))
    assert wrong in said if wrong else said == ""
