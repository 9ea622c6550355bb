"""Chords whose registry goes away while their members end, or whose members end and nobody counts them."""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, _state, chain, chord
from celery.app.task import Context

import executions
from executions import Client, Execution, NotFound
from executions.celery import endings
from executions.celery.site import Site, site_of
from executions.registry.transitions import Ended, Started
from executions.states import Reason
from executions.upkeep.scheduler import Scheduler
from tests.conftest import Eventually, StartServer
from workers.local.server import free_port


def _add(x: int, y: int) -> int:
    return x + y


def _told(execution_id: str) -> str:
    return execution_id


def _make_current(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make an app the only one, as in a worker: Celery before 5.5 counts for the current app, and sizes a chord within
    a chord for it. Each thread has its own, and another test may have left one in this."""
    app.set_default()
    monkeypatch.setattr(_state._tls, "current_app", app)


def test_the_last_member_of_a_chord_is_counted_once_the_registry_is_back(
    start_server: StartServer, tmp_path: Path, eventually: Eventually, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    # Given a chord whose last member has ended
    server = start_server(tmp_path, free_port())
    app = Celery("chords", broker=server.url, set_as_current=False)
    client = executions.install(app)
    _make_current(app, monkeypatch)
    add = app.task(_add, name="add")
    result = chord([add.si(1, 1), add.si(2, 2)], add.si(3, 3)).apply_async()
    body = add.si(3, 3).set(task_id=result.id)
    first, last = (
        Context(id=one.id, group=result.parent.id, group_index=at, chord=body)
        for at, one in enumerate(result.parent.results)
    )
    app.backend.on_chord_part_return(first, "SUCCESS", 2)
    # If the registry is away just then
    server.stop()
    with caplog.at_level(logging.INFO):
        counting = threading.Thread(target=app.backend.on_chord_part_return, args=(last, "SUCCESS", 4), daemon=True)
        counting.start()
        eventually(lambda: "counting for a chord" in caplog.text)
    server.start()
    # I expect its body
    counting.join(30)
    assert client.executions.get(result.id).status == "pending"
    client.close()
    app.close()


@dataclass
class Stage:
    """An app without workers: a test ends members as a worker does that dies before it counts them."""

    app: Celery
    add: Any
    client: Client
    attempts: Counter[str] = field(default_factory=Counter)

    @property
    def site(self) -> Site:
        site = site_of(self.app)
        assert site is not None
        return site

    def end(self, execution_id: str, output: int = 0, *, fails: bool = False) -> None:
        transitions = self.site.transitions
        self.attempts[execution_id] += 1
        attempt = self.attempts[execution_id]
        started = transitions.start(execution_id, attempt, worker="w@test", pid=1, pool="threads", claim=f"w.{attempt}")
        assert isinstance(started, Started), started
        failed = endings.failure(ValueError("no"), Reason.ERROR, [])
        ending = failed if fails else endings.success(self.site, str(output), "[]", [])
        assert isinstance(transitions.finish(execution_id, attempt, ending), Ended)

    def tell(self) -> None:
        """Do what upkeep does ten seconds later, by two leaders at once."""
        space = self.site.space
        for keys in space.all_keys():
            for one in space.client.zrange(keys.due, 0, -1):
                space.client.zadd(keys.due, {one: 0})
        leaders = [Scheduler(self.site), Scheduler(self.site)]
        with ThreadPoolExecutor(2) as pool:
            while any(report.left for report in pool.map(lambda one: one.run_once(0), leaders)):
                pass

    def body(self, result: Any) -> Execution:
        found: Execution = self.client.executions.get(result.id)
        return found

    def is_sent(self, result: Any) -> bool:
        try:
            return self.body(result).status == "pending"
        except NotFound:
            return False


@pytest.fixture
def stage(server_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setenv("EXECUTIONS_NAMESPACE", namespace)
    app = Celery("chords", broker=server_url, set_as_current=False)
    app.conf.task_default_queue = namespace
    client = executions.install(app)
    _make_current(app, monkeypatch)
    yield Stage(app, app.task(_add, name="add"), client)
    client.close()
    app.close()


def test_a_thousand_members_that_nobody_counted_send_one_body_with_all_outputs_in_order(stage: Stage) -> None:
    result = chord([stage.add.si(0, n) for n in range(1000)], stage.add.s(1)).apply_async()
    members = [one.id for one in result.parent.results]
    for at, one in reversed(list(enumerate(members[1:], 1))):
        stage.end(one, at)
    stage.tell()
    assert not stage.is_sent(result)
    stage.end(members[0], 0)
    stage.tell()
    body = stage.body(result)
    assert [entry["status"] for entry in body.status_log] == ["pending"]
    assert json.loads(body._raw["in"])[0][0] == list(range(1000))
    # And nothing more comes of it
    stage.end(result.id, 1)
    stage.tell()
    assert (stage.body(result).status, stage.body(result).attempts) == ("success", 1)


def test_chords_within_chords_go_on(stage: Stage) -> None:
    add = stage.add
    inner = chord([add.si(1, 1), add.si(2, 2)], add.si(3, 3).set(task_id="inner"))
    result = chord([inner, add.si(4, 4).set(task_id="beside")], chord([add.si(5, 5)], add.si(6, 6))).apply_async()
    waiting = [one.id for one in stage.client.executions.list("status:pending") if one.id != "beside"]
    for one in [*waiting, "beside"]:
        stage.end(one)
    stage.tell()
    # The body of the inner one is a member of the outer one
    stage.end("inner")
    stage.tell()
    # And the body of that is a chord
    (last,) = [one.id for one in stage.client.executions.list("status:pending")]
    stage.end(last)
    stage.tell()
    assert stage.is_sent(result)
    assert len(stage.client.executions.list()) == 6


@pytest.mark.parametrize("begins_a_chain", [False, True])
def test_a_member_that_failed_fails_the_body(stage: Stage, begins_a_chain: bool) -> None:
    add = stage.add
    first = add.si(1, 1).set(task_id="first")
    member = chain(first, add.si(2, 2), add.si(3, 3)) if begins_a_chain else first
    result = chord([member, add.si(4, 4).set(task_id="other")], add.si(5, 5)).apply_async()
    stage.end("other")
    stage.end("first", fails=True)
    stage.tell()
    assert (stage.body(result).status, stage.body(result).reason) == ("failed", "upstream")


def test_a_member_that_is_rerun_before_it_was_counted_counts_once(stage: Stage) -> None:
    result = chord(
        [stage.add.si(1, 1).set(task_id="a"), stage.add.si(2, 2).set(task_id="b")], stage.add.s(1)
    ).apply_async()
    stage.end("a", fails=True)
    stage.client.executions.get("a").rerun()
    stage.tell()
    stage.end("a", 7)
    stage.tell()
    assert not stage.is_sent(result)
    stage.end("b", 8)
    stage.tell()
    assert json.loads(stage.body(result)._raw["in"])[0][0] == [7, 8]


def test_who_is_counted_at_once_is_not_looked_at_again(stage: Stage) -> None:
    chord([stage.add.si(1, 1).set(task_id="a"), stage.add.si(2, 2)], stage.add.s(1)).apply_async()
    keys = stage.site.space.keys("a")
    stage.end("a")
    assert stage.site.space.client.zscore(keys.due, "a")
    request = Context(stage.site.dispatcher.as_received("a", stage.client.executions.get("a")._raw))
    stage.app.backend.on_chord_part_return(request, "SUCCESS", 2)
    assert stage.site.space.client.zscore(keys.due, "a") is None


def test_a_chord_that_took_the_place_of_a_function_goes_on_with_it(stage: Stage) -> None:
    # Given an execution that waits for the body of a chord, which has its id
    stage.add.apply_async((0, 0), task_id="outer")
    stage.site.transitions.start("outer", 1, worker="w@test", pid=1, pool="threads", claim="w.1")
    stage.site.transitions.retry("outer", 1, reason=Reason.WAITING, message="replaced")
    body = stage.add.s(1).set(task_id="outer", replaced_task_nesting=1)
    chord([stage.add.si(1, 1).set(task_id="a"), stage.add.si(2, 2).set(task_id="b")], body).apply_async()
    # If its members end, and nobody counts them
    for one in ("a", "b"):
        stage.end(one)
    stage.tell()
    # I expect it to be sent
    outer = stage.client.executions.get("outer")
    assert (outer.status, outer.reason) == ("pending", "queued")
    assert json.loads(outer._raw["in"])[0][0] == [0, 0]


def test_who_is_called_on_a_failure_is_sent_once_however_often_a_leader_dies_over_it(stage: Stage) -> None:
    told = stage.app.task(_told, name="told")
    failed = stage.add.apply_async((1, 1), link_error=told.s())
    stage.end(failed.id, fails=True)
    # If each leader dies after it has told, and before it says so
    for _ in range(3):
        assert stage.app.backend.tell_followers(failed.id)
    # I expect one execution, which runs once whatever messages there are
    (one,) = stage.client.executions.list("function:told").items
    assert one.parent_id == failed.id
    stage.end(one.id)
    again = stage.site.transitions.start(one.id, 1, worker="w@test", pid=1, pool="threads", claim="w.9")
    assert not isinstance(again, Started)
