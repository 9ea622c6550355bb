"""What is to start later waits in the registry: no worker holds it, and no worker's clock has a say."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord, signals
from celery.exceptions import ChordError, TaskRevokedError
from redis import Redis

from executions import InvalidInput
from executions.clock import SYSTEM_CLOCK
from executions.parts import Parts
from executions.upkeep.publisher import Publisher
from executions.upkeep.scheduler import Scheduler
from tests.acceptance.fleet import Fleet, eventually, make_fleet, words
from tests.conftest import StartServer

#: More than a worker ever has to hold, few enough for a test.
MANY = 20_000


@pytest.fixture
def alone(server_url: str, tmp_path: Path) -> Iterator[Fleet]:
    """A registry without workers, whose lead changes within seconds."""
    yield from make_fleet(server_url, tmp_path, EXECUTIONS_LEASE_S="3", EXECUTIONS_BEAT_S="0.5")


def messages(fleet: Fleet, queue: str = "celery") -> list[dict[str, Any]]:
    with Redis.from_url(fleet.url) as client:
        return [json.loads(text) for text in client.lrange(queue, 0, -1)]


def drop(fleet: Fleet, execution_id: str, queue: str) -> None:
    """Lose a message, as a worker does that dies between the pop and the start."""
    with Redis.from_url(fleet.url) as client:
        (text,) = [text for text in client.lrange(queue, 0, -1) if json.loads(text)["headers"]["id"] == execution_id]
        client.lrem(queue, 1, text)


def parts_of(fleet: Fleet) -> Parts:
    parts: Parts = fleet.client._parts
    return parts


def due_now(fleet: Fleet, execution_id: str) -> None:
    """Have the time of an execution come."""
    space = parts_of(fleet).space
    space.client.zadd(space.keys(execution_id).due, {execution_id: 1}, xx=True)


def memory_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


def test_nothing_is_sent_before_the_time_and_no_time_is_sent(alone: Fleet) -> None:
    # Given executions for later from every way in, and no worker
    later = [
        alone.shop.add.apply_async((1, 1), countdown=60),
        alone.shop.add.apply_async((1, 1), eta=datetime.now(UTC) + timedelta(seconds=60)),
        alone.client.submit("shop.add", 1, 1, countdown=timedelta(minutes=1)),
        alone.client.submit("shop.add", 1, 1, eta=datetime.now(UTC).replace(tzinfo=None) + timedelta(minutes=1)),
        *alone.client.map("shop.add", [(1, 1), (2, 2)], countdown=60),
    ]
    scheduled = [alone.client.executions.get(one.id) for one in later]
    assert {one.reason for one in scheduled} == {"scheduled"}
    assert all(55 < (one.eta - one.created).total_seconds() < 65 for one in scheduled)
    assert alone.client.executions.count("reason:scheduled") == len(later)
    assert messages(alone) == []
    # If their time comes
    for one in later:
        due_now(alone, one.id)
    scheduler = Scheduler(parts_of(alone))
    assert scheduler.run_once(0).done == len(later)
    # I expect each message once, with no time in it for a worker's clock to read
    sent = messages(alone)
    assert {message["headers"]["id"] for message in sent} == {one.id for one in later}
    assert [message["headers"]["eta"] for message in sent] == [None] * len(later)
    assert {alone.client.executions.get(one.id).reason for one in later} == {"queued"}
    assert scheduler.run_once(0).done == 0


def test_a_time_that_is_over_is_now(alone: Fleet) -> None:
    over = datetime.now(UTC) - timedelta(hours=1)
    for one in (
        alone.shop.add.apply_async((1, 1), eta=over),
        alone.shop.add.apply_async((1, 1), countdown=-5),
        alone.client.submit("shop.add", 1, 1, eta=over),
        alone.client.submit("shop.add", 1, 1, countdown=0),
    ):
        assert alone.client.executions.get(one.id).reason == "queued"
    assert [message["headers"]["eta"] for message in messages(alone)] == [None] * 4
    for wrong in (float("nan"), float("inf"), -1, "soon", True):
        with pytest.raises(InvalidInput, match="countdown"):
            alone.client.submit("shop.add", 1, 1, countdown=wrong)


def test_a_countdown_is_counted_by_the_registry(alone: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a process whose clock is an hour behind
    monkeypatch.setattr(type(alone.shop.app), "now", lambda app: datetime.now(UTC) - timedelta(hours=1))
    one = alone.client.executions.get(alone.shop.add.apply_async((1, 1), countdown=30).id)
    assert one.reason == "scheduled"
    assert (one.eta - one.created).total_seconds() == pytest.approx(30, abs=0.001)


def test_the_leader_dies_between_the_registry_and_the_broker(alone: Fleet) -> None:
    # Given an execution that was taken by a leader which sent nothing
    one = alone.client.submit("shop.add", 1, 2, countdown=60)
    due_now(alone, one.id)
    assert parts_of(alone).transitions.due([one.id])
    assert messages(alone) == []
    # I expect that the next one sends it within seconds
    alone.start("prefork", 1)
    assert alone.done(one, timeout=15).output == 3


@pytest.mark.feature("D62")
def test_the_leader_is_killed_while_much_waits(alone: Fleet) -> None:
    leader = alone.start("prefork", 1)
    first = alone.client.submit("shop.add", 1, 1, countdown=0.1)
    alone.done(first)
    waiting = alone.client.map("shop.add", [(n, 1) for n in range(20)], countdown=1)
    leader.stop(signal.SIGKILL)
    alone.start("prefork", 2)
    assert [alone.done(one).output for one in waiting] == [n + 1 for n in range(20)]


def test_what_waits_costs_a_worker_nothing_and_a_new_one_takes_what_is_due(alone: Fleet) -> None:
    worker = alone.start("threads", 2)
    alone.done(alone.client.submit("shop.add", 1, 1))
    before = memory_kib(worker.process.pid)
    alone.client.map("shop.add", [(n, 1) for n in range(MANY)], countdown=3600)
    alone.done(alone.client.submit("shop.add", 1, 1, countdown=0.5))
    assert memory_kib(worker.process.pid) - before < 4 * 1024
    worker.stop()
    soon = alone.client.submit("shop.add", 2, 2, countdown=0.2)
    alone.start("threads", 1)
    assert alone.done(soon, timeout=10).output == 4
    # A query for the reason would have to read each record.
    assert alone.client.executions.count("status:pending") == MANY


def test_one_that_expires_before_its_time_ends_when_it_expires(alone: Fleet) -> None:
    alone.start("prefork", 1)
    one = alone.client.submit("shop.add", 1, 1, countdown=3600, expires=0.5)
    done = alone.done(one, timeout=10)
    assert (done.status, done.reason, done.attempts) == ("terminated", "expired", 0)


def test_what_waits_survives_a_restart_of_the_server(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(tmp_path / "server")
    made = make_fleet(server.url, tmp_path, EXECUTIONS_LEASE_S="3", EXECUTIONS_BEAT_S="0.5")
    fleet = next(made)
    try:
        one = fleet.client.submit("shop.add", 1, 2, countdown=1)
        port = server.port
        server.stop()
        server = start_server(tmp_path / "server", port)
        fleet.start("prefork", 1)
        assert fleet.done(one).output == 3
    finally:
        made.close()
        server.stop()


@pytest.mark.parametrize("how", ["terminate", "revoke", "expires"])
def test_who_waits_for_a_cancelled_one_is_let_go_also_by_a_worker_that_comes_later(alone: Fleet, how: str) -> None:
    # Given a chain and a chord that wait for an execution which is for later, and no worker
    shop = alone.shop
    options = {"countdown": 3600, **({"expires": 0.2} if how == "expires" else {})}
    linked = chain(shop.add.si(1, 1).set(**options), shop.add.si(1, 1)).apply_async()
    joined = chord([shop.add.si(1, 1), shop.add.si(1, 1).set(**options)], shop.total.s()).apply_async()
    victims = [linked.parent.id, joined.parent.results[1].id]
    for victim in victims:
        if how == "terminate":
            alone.client.executions.get(victim).terminate()
        elif how == "revoke":
            shop.app.control.revoke(victim)
    # I expect both to be told by the first worker
    alone.start("prefork", 1)
    for victim in victims:
        assert alone.done(victim).status == "terminated"
    for result in (linked, joined):
        with pytest.raises((ChordError, TaskRevokedError)):
            result.get(timeout=20)
        assert (alone.done(result).status, alone.done(result).reason) == ("failed", "upstream")


def test_chains_chords_and_retries_wait_in_the_registry_too(alone: Fleet) -> None:
    shop = alone.shop
    alone.start("prefork", 2)
    linked = chain(shop.add.s(1, 1), shop.add.s(1).set(countdown=0.3)).apply_async()
    joined = chord([shop.add.s(1, 1), shop.add.s(2, 2).set(countdown=0.3)], shop.total.s()).apply_async()
    retried = shop.flaky.delay(3, 0.3)
    assert (linked.get(timeout=20), joined.get(timeout=20)) == (3, 6)
    done = alone.done(retried)
    assert words(done)[:4] == ["pending/queued", "running/started", "pending/retrying", "running/started"]
    starts = [attempt.started for attempt in done.attempts_log]
    assert (starts[1] - starts[0]).total_seconds() >= 0.3


def test_celerys_signals_tell_of_what_is_for_later(alone: Fleet) -> None:
    seen: list[str] = []

    def before(headers: Any = None, **_: Any) -> None:
        headers["x-trace"] = "7"
        seen.append(headers["id"])

    signals.before_task_publish.connect(before)
    try:
        one = alone.shop.add.apply_async((1, 1), countdown=60)
    finally:
        signals.before_task_publish.disconnect(before)
    assert seen == [one.id]
    due_now(alone, one.id)
    Scheduler(parts_of(alone)).run_once(0)
    assert messages(alone)[0]["headers"]["x-trace"] == "7"


def test_a_message_lost_from_a_queue_that_is_never_empty_comes_back(alone: Fleet) -> None:
    # Given a queue in which younger messages lie, and one that was lost from it
    lost, second, third = (alone.client.submit("shop.add", n, 1, queue="busy") for n in range(3))
    drop(alone, lost.id, "busy")
    publisher = Publisher(parts_of(alone), after_s=0)
    # I expect it to be sent again, once, and nothing else
    assert publisher.run_once(SYSTEM_CLOCK.now()).done == 1
    assert [message["headers"]["id"] for message in messages(alone, "busy")] == [lost.id, third.id, second.id]
    assert publisher.run_once(SYSTEM_CLOCK.now()).done == 0


def test_a_queue_without_workers_does_not_hide_what_was_lost_from_others(
    alone: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("executions.upkeep.publisher.LOOKED_AT", 5)
    alone.client.map("shop.add", [(n, 1) for n in range(12)], queue="nobody")
    lost = alone.client.submit("shop.add", 1, 1, queue="busy")
    drop(alone, lost.id, "busy")
    publisher = Publisher(parts_of(alone), after_s=0)
    eventually(lambda: publisher.run_once(SYSTEM_CLOCK.now()) and messages(alone, "busy"), "sent again")
    assert [message["headers"]["id"] for message in messages(alone, "busy")] == [lost.id]
    assert len(messages(alone, "nobody")) == 12
