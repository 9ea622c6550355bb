"""Services on real workers: what runs where, under which version, how many at once, and until when."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import executions
from executions import Client, Execution
from tests.acceptance.fleet import Fleet, Worker, eventually, words

CONCURRENCY = 6


@dataclass
class Site:
    """The services' module, bound to this registry, and its worker."""

    fleet: Fleet
    module: Any
    worker: Worker

    @property
    def client(self) -> Client:
        client: Client = self.module.client
        return client

    def service(self, name: str) -> Any:
        return self.client.services.get(name)

    def marks(self, name: str) -> list[str]:
        path = Path(self.fleet.folder) / name
        return path.read_text().splitlines() if path.exists() else []

    def started(self, name: str, times: int = 1) -> None:
        eventually(lambda: self.marks(name).count("start") >= times, f"{name} started {times} times")

    def fresh_name(self) -> str:
        return Path(self.fleet.path()).name


@pytest.fixture(scope="module")
def site(fleet: Fleet) -> Iterator[Site]:
    """One worker with six processes, which all tests share."""
    sys.modules.pop("service_shop", None)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        module = importlib.import_module("service_shop")
    worker = fleet.start("prefork", CONCURRENCY, app="service_shop")
    yield Site(fleet, module, worker)
    module.client.close()
    module.app.close()


@pytest.fixture
def other(site: Site) -> Iterator[Client]:
    """A second program, which has none of the code."""
    made = executions.connect(site.client.settings.url, namespace=site.client.settings.namespace, principal="bob")
    yield made
    made.close()


def done(execution: Execution) -> Execution:
    return execution.wait(timeout=30)


@pytest.mark.feature("D01")
def test_only_the_function_that_was_asked_for_runs(site: Site, other: Client) -> None:
    name = site.fresh_name()
    ended = done(other.services.get("my-service").execute("detect", item={"id": 7}, mark_in=name))
    assert (ended.status, ended.function, ended.service) == ("success", "my-service.detect", "my-service")
    assert site.marks(name) == ["detect"]


@pytest.mark.feature("D01")
def test_the_runner_is_made_once_in_each_process(site: Site) -> None:
    service = site.service("my-service")
    seen = [tuple(one.wait(timeout=30).output) for one in [service.execute("where") for _ in range(24)]]
    assert len({pid for pid, _ in seen}) == len(set(seen))
    made = [pid for pid in site.marks("made") if pid]
    assert {str(pid) for pid, _ in seen} <= set(made)


@pytest.mark.feature("D02")
def test_inputs_arrive_by_name_and_unchanged(site: Site) -> None:
    item = {"id": 7, "tags": ["a", None], "size": 1.5}
    assert done(site.service("my-service").execute("detect", inputs={"item": item})).output == item


@pytest.mark.feature("D02")
@pytest.mark.parametrize(("inputs", "named"), [({"items": 1}, "'items'"), ({}, "'item'")])
def test_a_wrong_input_fails_by_its_name_before_the_body_runs(site: Site, inputs: dict[str, Any], named: str) -> None:
    name = site.fresh_name()
    ended = done(site.service("my-service").execute("detect", inputs={**inputs, "mark_in": name}))
    assert (ended.status, ended.reason) == ("failed", "error")
    assert named in ended.message
    assert site.marks(name) == []


@pytest.mark.feature("D03")
def test_progress_is_given_to_the_one_that_asks(site: Site) -> None:
    service = site.service("my-service")
    trained = done(service.execute("train_model", item=1))
    assert (trained.output, trained.progress, trained.progress_message) == (["Progress", 1], 40, "Epoch 40")
    assert done(service.execute("detect", item=2)).status == "success"


def test_a_coroutine_can_be_a_function(site: Site) -> None:
    assert done(site.service("my-service").execute("stream", item=3)).output == [3]


@pytest.mark.feature("D04")
def test_kill_event_stops_what_somebody_else_terminates(site: Site, other: Client) -> None:
    name = site.fresh_name()
    running = site.service("my-service").execute("steps", seconds=60, into=name)
    site.started(name)
    other.executions.get(running.id).terminate("wrong data")
    ended = done(running)
    assert ended.status == "terminated"
    assert site.marks(name) == ["start"]


@pytest.mark.feature("D59")
def test_execute_gives_an_execution_its_end_or_its_output(site: Site) -> None:
    service = site.service("my-service")
    assert service.execute("detect", item=1).status in ("pending", "running", "success")
    assert service.execute("detect", sync=True, item=1).status == "success"
    assert service.execute("detect", sync=True, return_output=True, inputs={"item": 5}) == 5


def test_the_tasks_of_a_service_can_be_sent_as_tasks(site: Site) -> None:
    task = site.module.app.tasks["my-service.detect"]
    ended = done(site.client.executions.get(task.delay(item=4).id))
    assert (ended.status, ended.service, ended.output, ended.service_version) == ("success", "my-service", 4, 1)


@pytest.mark.feature("D32", "D36")
def test_a_function_is_ended_at_the_time_limit_of_its_service(site: Site) -> None:
    name = site.fresh_name()
    ended = done(site.service("timed").execute("steps", seconds=10, into=name))
    assert (ended.status, ended.reason) == ("failed", "timeout")
    assert "Execution stopped due to runner timeout" in ended.message
    assert ended.duration is not None
    assert 2 <= ended.duration < 4
    assert done(site.service("timed").execute("detect", item=1)).status == "success"


@pytest.mark.feature("D37")
def test_a_timeout_can_mean_to_run_again(site: Site) -> None:
    name = site.fresh_name()
    first = site.service("again").execute("slow_first", into=name)
    ended = done(first)
    assert (ended.id, ended.status, ended.attempts) == (first.id, "success", 2)
    assert "pending/rerun" in words(ended)
    assert site.marks(name) == ["start", "start"]


@pytest.mark.feature("D37")
def test_running_again_is_bounded(site: Site) -> None:
    ended = done(site.service("again").execute("steps", seconds=30, into=site.fresh_name()))
    assert (ended.status, ended.reason, ended.attempts) == ("failed", "timeout", 2)


def test_a_limit_of_the_function_or_the_call_is_stronger_than_that_of_the_service(site: Site) -> None:
    own = site.module.own_limit.delay()
    inherited = site.module.no_limit_of_its_own.delay()
    called = site.service("timed").execute(
        "steps", inputs={"seconds": 10, "into": site.fresh_name()}, execution_timeout=1
    )
    get = site.client.executions.get
    assert done(get(own.id)).status == "success"
    by_service = done(get(inherited.id))
    assert (by_service.reason, "execution_timeout of 2 s" in by_service.message) == ("timeout", True)
    by_call = done(called)
    assert (by_call.reason, "execution_timeout of 1 s" in by_call.message) == ("timeout", True)


@pytest.mark.feature("D41")
def test_the_limit_is_for_each_run_and_not_for_the_service(site: Site) -> None:
    service = site.service("timed")
    runs = [service.execute("steps", seconds=1, into=site.fresh_name()) for _ in range(10)]
    assert {done(one).status for one in runs} == {"success"}


@pytest.mark.feature("D34", "D35")
def test_only_an_update_changes_what_new_executions_get(site: Site, other: Client) -> None:
    service = site.service("changed")
    before = service.version
    service.execution_timeout = 1
    still = done(service.execute("steps", seconds=1.5, into=site.fresh_name()))
    assert (still.status, still.service_version) == ("success", before)
    fresh = service.update()
    assert (fresh.version, other.services.get("changed").execution_timeout) == (before + 1, 1)
    ended = done(other.services.get("changed").execute("steps", seconds=10, into=site.fresh_name()))
    assert (ended.reason, ended.service_version) == ("timeout", before + 1)
    fresh.execution_timeout = 86400
    assert fresh.update().execution_timeout == 86400


@pytest.mark.feature("D39")
def test_what_runs_finishes_under_the_old_version(site: Site) -> None:
    name, service = site.fresh_name(), site.service("patient")
    running = service.execute("steps", seconds=1, into=name)
    site.started(name)
    service.on_reset = "rerun"
    updated = service.update()
    later = done(updated.execute("detect", item=1))
    ended = done(running)
    assert (ended.status, ended.service_version, ended.attempts) == ("success", 1, 1)
    assert later.service_version == updated.version == 2


@pytest.mark.feature("D39")
def test_what_runs_longer_than_the_drain_time_is_ended(site: Site) -> None:
    name, service = site.fresh_name(), site.service("drained")
    running = service.execute("steps", seconds=60, into=name)
    site.started(name)
    service.max_attempts = 2
    service.update()
    ended = done(running)
    assert (ended.status, ended.reason) == ("failed", "reset")
    assert ended.message.startswith("Execution stopped due to a reset of its service")
    assert ended.duration is not None
    assert 1 <= ended.duration < 5


def seconds_from_update(updated: Any, ended: Execution) -> float:
    return float((ended.finished - updated.updated).total_seconds())


@pytest.mark.feature("D40")
@pytest.mark.parametrize("function", ["steps", "stubborn"])
def test_an_update_by_force_fails_what_runs_within_two_seconds(site: Site, function: str) -> None:
    name, service = site.fresh_name(), site.service("forced")
    running = service.execute(function, seconds=60, into=name)
    site.started(name)
    service.max_attempts = None if service.max_attempts else 5
    updated = service.update(force=True)
    ended = done(running)
    assert (ended.status, ended.reason) == ("failed", "reset")
    assert seconds_from_update(updated, ended) < 2
    assert done(updated.execute("detect", item=1)).service_version == updated.version


@pytest.mark.feature("D40")
def test_an_update_by_force_runs_it_again_under_the_new_version(site: Site) -> None:
    name, service = site.fresh_name(), site.service("forced-rerun")
    running = service.execute("slow_first", into=name)
    site.started(name)
    service.execution_timeout = 100
    updated = service.update(force=True)
    ended = done(running)
    assert (ended.status, ended.attempts) == ("success", 2)
    assert [attempt.service_version for attempt in ended.attempts_log] == [updated.version - 1, updated.version]
    assert words(ended).count("running/started") == 2
    assert "pending/rerun" in words(ended)
    assert (ended.attempts_log[1].started - updated.updated).total_seconds() < 2  # type: ignore[operator]


@pytest.mark.feature("D04")
def test_a_termination_wins_over_an_update_by_force(site: Site) -> None:
    name, service = site.fresh_name(), site.service("forced-rerun")
    running = service.execute("stubborn", seconds=60, into=name)
    site.started(name)
    running.terminate("enough")
    service.execution_timeout = 200
    service.update(force=True)
    ended = done(running)
    assert (ended.status, ended.attempts) == ("terminated", 1)


def most_at_once(lines: list[str]) -> int:
    moments = []
    for line in lines:
        begun, ended = map(float, line.split())
        moments += [(begun, 1), (ended, -1)]
    now = most = 0
    for _, step in sorted(moments):
        now += step
        most = max(most, now)
    return most


@pytest.mark.feature("D42")
def test_a_concurrency_limit_holds_and_an_update_raises_it(site: Site) -> None:
    service = site.service("limited")
    name = site.fresh_name()
    runs = [done(one) for one in [service.execute("count", seconds=0.3, into=name) for _ in range(6)]]
    assert {one.status for one in runs} == {"success"}
    assert most_at_once(site.marks(name)) == 2
    spread = max(one.finished for one in runs) - min(one.started for one in runs)  # type: ignore[type-var, operator]
    assert 0.9 <= spread.total_seconds() < 2.5  # type: ignore[union-attr]

    service.concurrency = 6
    service = service.update()
    name = site.fresh_name()
    for one in [service.execute("count", seconds=1, into=name) for _ in range(6)]:
        assert done(one).status == "success"
    assert most_at_once(site.marks(name)) == 6
    service.concurrency = 2
    service.update()


@pytest.mark.feature("D42")
def test_a_killed_process_gives_its_slot_back(site: Site) -> None:
    service, name = site.service("limited"), site.fresh_name()
    holders = [service.execute("stubborn", seconds=60, into=name) for _ in range(2)]
    site.started(name, 2)
    waits = service.execute("detect", item=1)
    eventually(lambda: waits.refresh().reason == "waiting", "parked")
    holders[0].terminate(force=True)
    assert done(waits).status == "success"
    holders[1].terminate(force=True)
    assert {done(one).status for one in holders} == {"terminated"}


@pytest.mark.feature("D61")
def test_a_paused_service_keeps_what_comes_until_it_is_resumed(site: Site) -> None:
    service = site.service("paused").pause()
    runs = [service.execute("detect", item=number) for number in range(4)]
    eventually(lambda: all(one.refresh().reason == "waiting" for one in runs), "all parked")
    assert {one.refresh().attempt for one in runs} == {0}
    assert runs[3].terminate("not needed").status == "terminated"
    service.resume()
    ended = [done(one) for one in runs]
    assert [one.status for one in ended] == ["success"] * 3 + ["terminated"]
    assert [one.output for one in ended[:3]] == [0, 1, 2]


@pytest.mark.feature("D43")
def test_a_queue_is_taken_only_by_workers_that_listen_to_it(site: Site) -> None:
    routed = site.service("routed").execute("where")
    task = site.module.app.tasks["routed.detect"]
    sent = site.client.executions.get(task.delay(item=1).id)
    assert (routed.queue, sent.queue) == ("gpu-t4", "gpu-t4")
    # A later one, to a queue that somebody reads, has ended: the two are not merely late.
    assert done(site.service("my-service").execute("detect", item=1)).status == "success"
    assert (routed.refresh().status, sent.refresh().status) == ("pending", "pending")
    worker = site.fleet.start("prefork", 1, "-Q", "gpu-t4", app="service_shop")
    try:
        ended = done(routed)
        assert ended.worker.startswith(worker.name)  # type: ignore[union-attr]
        assert done(sent).worker == ended.worker
    finally:
        worker.stop()


@pytest.mark.feature("D51")
def test_a_rerun_takes_the_newest_version_and_the_newest_code(site: Site) -> None:
    service = site.service("routed")
    service.queue = "editions"
    service = service.update()
    first = site.fleet.start("prefork", 1, "-Q", "editions", app="service_shop")
    ran = done(service.execute("edition"))
    first.stop()
    second = site.fleet.start("prefork", 1, "-Q", "editions", app="service_shop", SHOP_EDITION="two")
    service.on_reset = "rerun"
    updated = service.update()
    again = done(ran.rerun())
    second.stop()
    assert (ran.output, again.output) == ("one", "two")
    assert (again.id, again.attempts) == (ran.id, 2)
    assert [one.service_version for one in again.attempts_log] == [service.version, updated.version]
    assert again.service_version == updated.version
    assert again.inputs == ran.inputs


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_other_pools_keep_versions_limits_and_resets(site: Site, pool: str) -> None:
    service = site.service(f"on-{pool}")
    worker = site.fleet.start(pool, 2, "-Q", f"q-{pool}", app="service_shop")
    try:
        name = site.fresh_name()
        running = service.execute("steps", seconds=60, into=name)
        site.started(name)
        waits = service.execute("detect", item=1)
        if pool == "threads":
            eventually(lambda: waits.refresh().reason == "waiting", "parked")
        service.on_reset = "failed"
        service.execution_timeout = 50
        updated = service.update(force=True)
        ended = done(running)
        assert (ended.status, ended.reason) == ("failed", "reset")
        assert seconds_from_update(updated, ended) < 2
        assert done(waits).service_version == updated.version
    finally:
        worker.stop()


@pytest.mark.feature("D42")
def test_the_slot_of_a_worker_that_was_killed_comes_back(site: Site) -> None:
    quick = {"EXECUTIONS_BEAT_S": "0.2", "EXECUTIONS_LEASE_S": "1"}
    service, name = site.service("fragile"), site.fresh_name()
    doomed = site.fleet.start("prefork", 2, "-Q", "fragile", app="service_shop", **quick)
    holder = service.execute("steps", seconds=60, into=name)
    site.started(name)
    heir = site.fleet.start("prefork", 2, "-Q", "fragile", app="service_shop", **quick)
    try:
        waits = service.execute("detect", item=1)
        eventually(lambda: waits.refresh().reason == "waiting", "parked")
        doomed.process.kill()
        ended = done(waits)
        assert (ended.status, ended.worker.startswith(heir.name)) == ("success", True)  # type: ignore[union-attr]
        lost = done(holder)
        assert (lost.status, lost.reason) == ("failed", "worker-lost")
        assert site.client._parts.services.running("fragile") == 0
    finally:
        heir.stop()


@pytest.mark.feature("D42")
def test_a_limit_holds_over_two_workers_and_nothing_gets_stuck(site: Site) -> None:
    service, name = site.service("limited"), site.fresh_name()
    second = site.fleet.start("prefork", 4, app="service_shop")
    try:
        runs = [service.execute("count", seconds=0.01, into=name) for _ in range(150)]
        ended = [done(one) for one in runs]
        assert {one.status for one in ended} == {"success"}
        assert {one.attempt for one in ended} == {1}
        assert len({one.worker for one in ended}) == 2
        assert most_at_once(site.marks(name)) <= 2
        registry = site.client._parts.services
        # A message that comes twice takes a slot, is refused at its start, and gives the slot back.
        eventually(lambda: registry.running("limited") == 0, "every slot is free")
        assert registry.parked("limited") == []
        assert registry.parked("limited", chosen=True) == []
    finally:
        second.stop()
