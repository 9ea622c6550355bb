"""Services on a real server: versions, exact limits, parking and waking, and who can die when."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

import executions
from executions import Client, Conflict, InvalidInput, NotFound, ServiceRunner, Unavailable, parking
from executions.execution import Execution
from executions.policy import Policy
from executions.registry import keys, services
from executions.registry.services import Permit, Services
from executions.registry.transitions import Ending, Started
from executions.states import Reason, Status
from executions.upkeep.waker import Waker


class Trainer(ServiceRunner):
    """What a user writes."""

    def detect(self, item: object) -> object:
        return item

    def train(self) -> None: ...


@pytest.fixture(params=[1, 16], ids=["one shard", "16 shards"])
def client(server_url: str, broker_url: str, namespace: str, request: pytest.FixtureRequest) -> Iterator[Client]:
    """A program with a registry of its own; nobody consumes its queues."""
    given = {"broker": broker_url, "namespace": namespace, "principal": "alice", "shards": request.param}
    made = executions.connect(server_url, **given)
    assert made._parts.space.shards == request.param
    yield made
    made.close()


@pytest.fixture
def second(client: Client) -> Client:
    """Another program, of another person, on the same registry."""
    settings = client.settings
    return executions.connect(settings.url, broker=settings.broker, namespace=settings.namespace, principal="bob")


@pytest.fixture
def queue(namespace: str) -> str:
    """A broker queue of the test's own."""
    return f"q-{namespace}"


def registry_of(client: Client) -> Services:
    return client._parts.services


def waiting(client: Client, queue: str) -> int:
    """Count the messages in a queue."""
    return client._parts.dispatcher.depth(queue)


def lose_messages(client: Client, queue: str) -> None:
    """Empty a queue, as a broker does that loses its messages."""
    with client._parts.dispatcher.app.connection_for_write() as connection:
        connection.default_channel.queue_purge(queue)


def in_outbox(client: Client, execution: Execution) -> bool:
    """Tell whether the publisher would find an execution whose message is lost."""
    space = client._parts.space
    return space.client.zscore(space.keys(execution.id).outbox, execution.id) is not None


def start(client: Client, execution: Execution, attempt: int = 1) -> Permit:
    """Do what a worker does when the message of an execution arrives."""
    service = execution.service or ""
    permit = registry_of(client).enter(service, execution.id, attempt)
    if not permit.granted:
        client._parts.transitions.park(execution.id, message=permit.why, attempt=attempt)
        return permit
    outcome = client._parts.transitions.start(
        execution.id, attempt, worker="w", pid=1, pool="prefork", service=(service, permit.version)
    )
    assert isinstance(outcome, Started), outcome
    return permit


def finish(client: Client, execution: Execution, attempt: int = 1) -> None:
    client._parts.transitions.finish(execution.id, attempt, Ending(status=Status.SUCCESS))


# -- policies and versions --


@pytest.mark.feature("D31")
def test_a_deployed_service_is_found_by_name_and_an_unknown_one_is_not(client: Client, second: Client) -> None:
    client.services.deploy(Trainer, name="trainer", queue="gpu")
    found = second.services.get("trainer")

    assert (found.name, found.execution_timeout, found.on_reset, found.queue) == ("trainer", 3600, "failed", "gpu")
    assert found.functions == ("detect", "train")
    assert (found.version, found.updated_by, found.paused) == (1, "alice", False)
    assert found.id
    assert found.created
    assert [one.name for one in second.services.list()] == ["trainer"]
    with pytest.raises(NotFound, match="'unknown'"):
        client.services.get("unknown")


@pytest.mark.feature("D34")
def test_settings_take_effect_only_with_update(client: Client, second: Client) -> None:
    service = client.services.deploy(Trainer, name="trainer")
    service.execution_timeout = 60
    assert second.services.get("trainer").execution_timeout == 3600
    assert registry_of(second).policy("trainer").execution_timeout == 3600

    updated = service.update()
    seen = second.services.get("trainer")
    assert (updated.version, seen.version, seen.execution_timeout, seen.updated_by) == (2, 2, 60, "alice")


def test_of_two_editors_the_second_is_told_who_changed_what(client: Client, second: Client) -> None:
    client.services.deploy(Trainer, name="trainer")
    mine, theirs = client.services.get("trainer"), second.services.get("trainer")
    theirs.execution_timeout = 60
    theirs.update()
    mine.on_reset = "rerun"
    with pytest.raises(Conflict, match="bob changed execution_timeout from 3600 to 60"):
        mine.update()
    fresh = mine.refresh()
    fresh.on_reset = "rerun"
    assert (fresh.update().version, client.services.get("trainer").execution_timeout) == (3, 60)


def test_many_editors_at_once_make_one_version_each(client: Client) -> None:
    client.services.deploy(Trainer, name="trainer")

    def edit(number: int) -> int:
        while True:
            service = client.services.get("trainer")
            service.execution_timeout = 100 + number
            try:
                return service.update().version
            except Conflict:
                continue

    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(edit, range(16)))
    assert client.services.get("trainer").version == 17
    assert len(versions) == 16


def test_deploying_again_never_reverts_an_update(client: Client) -> None:
    first = client.services.deploy(Trainer, name="trainer", concurrency=2)
    first.execution_timeout = 60
    first.update()
    again = client.services.deploy(Trainer, name="trainer", concurrency=2)
    assert (again.version, again.execution_timeout) == (2, 60)


def test_a_changed_declaration_changes_what_it_declares_otherwise(client: Client) -> None:
    first = client.services.deploy(Trainer, name="trainer", concurrency=2, retry_on=[ValueError])
    first.execution_timeout = 60
    first.update()
    again = client.services.deploy(Trainer, name="trainer", concurrency=4)
    assert (again.version, again.execution_timeout, again.concurrency, again.retry_on) == (3, 60, 4, None)


def test_many_processes_deploy_one_service_at_once(client: Client, server_url: str, namespace: str) -> None:
    clients = [executions.connect(server_url, namespace=namespace) for _ in range(10)]
    with ThreadPoolExecutor(10) as pool:
        made = list(pool.map(lambda one: one.services.deploy(Trainer, name="trainer"), clients))
    assert {service.version for service in made} == {1}
    assert len({service.id for service in made}) == 1


def test_an_unknown_function_is_refused_and_the_known_are_named(client: Client) -> None:
    service = client.services.deploy(Trainer, name="trainer")
    with pytest.raises(InvalidInput, match="no function 'run'; it has: detect, train"):
        service.execute("run")


@pytest.mark.feature("D43", "D59")
def test_an_execution_goes_to_the_queue_of_its_service(client: Client, queue: str) -> None:
    service = client.services.deploy(Trainer, name="trainer", queue=queue)
    execution = service.execute("detect", item={"id": 7})

    assert (execution.status, execution.reason) == ("pending", "queued")
    assert (execution.function, execution.service, execution.queue) == ("trainer.detect", "trainer", queue)
    assert execution.inputs["kwargs"] == {"item": {"id": 7}}
    assert waiting(client, queue) == 1
    assert service.execute("detect", inputs={"item": 1}, tags=["nightly"]).tags == ("nightly",)


def test_a_removed_service_is_gone_but_not_while_somebody_waits_for_it(client: Client, queue: str) -> None:
    service = client.services.deploy(Trainer, name="trainer", queue=queue).pause()
    execution = service.execute("train")
    start(client, execution)
    with pytest.raises(Conflict, match="1 executions wait"):
        service.remove()
    execution.terminate()
    service.remove()
    with pytest.raises(NotFound):
        client.services.get("trainer")
    with pytest.raises(NotFound):
        service.execute("train")


def test_a_missed_push_heals_within_two_seconds(
    client: Client, second: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.services.deploy(Trainer, name="trainer")
    now = 1000.0

    class Frozen:
        def monotonic(self) -> float:
            return now

    monkeypatch.setattr(services, "SYSTEM_CLOCK", Frozen())
    assert registry_of(second).policy("trainer").execution_timeout == 3600
    service = client.services.get("trainer")
    service.execution_timeout = 60
    service.update()
    assert registry_of(second).policy("trainer").execution_timeout == 3600
    now += services.FRESH_S + 0.01
    assert registry_of(second).policy("trainer").execution_timeout == 60
    assert services.FRESH_S <= 2.0


def test_a_service_without_a_limit_starts_without_asking_the_server(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.services.deploy(Trainer, name="trainer")
    registry = registry_of(client)
    registry.enter("trainer", "one", 1)

    def forbidden(*args: object, **kwargs: object) -> None:
        raise AssertionError("asked the server")

    monkeypatch.setattr(client._parts.space.client, "execute_command", forbidden)
    permit = registry.enter("trainer", "two", 1)
    assert (permit.granted, permit.version, permit.ticket) == (True, 1, "")


# -- limits --


@pytest.mark.feature("D42")
@pytest.mark.timeout(120)
def test_the_limit_is_exact_under_twenty_threads(client: Client) -> None:
    limit = 5
    client.services.deploy(Trainer, name="trainer", concurrency=limit)
    registry, lock = registry_of(client), threading.Lock()
    inside, most, granted = 0, 0, 0

    def work(thread: int) -> None:
        nonlocal inside, most, granted
        for number in range(500):
            execution_id = f"{thread}-{number}"
            permit = registry.enter("trainer", execution_id, 1)
            if not permit.granted:
                registry.unpark("trainer", [execution_id])
                continue
            with lock:
                inside += 1
                granted += 1
                most = max(most, inside)
            with lock:
                inside -= 1
            registry.leave("trainer", permit.ticket)

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(work, range(20)))
    assert most <= limit
    assert granted > limit
    assert registry.running("trainer") == 0
    assert registry.parked("trainer") == registry.parked("trainer", chosen=True) == []


@pytest.mark.feature("D42")
def test_who_leaves_sends_on_the_one_that_waited_longest(client: Client, queue: str) -> None:
    service = client.services.deploy(Trainer, name="trainer", concurrency=2, queue=queue)
    runs = [service.execute("train") for _ in range(5)]
    lose_messages(client, queue)
    permits = [start(client, one) for one in runs]

    assert [permit.granted for permit in permits] == [True, True, False, False, False]
    assert (runs[2].refresh().reason, runs[2].refresh().message) == (
        "waiting",
        "service 'trainer' runs 2 at once, its limit",
    )
    assert waiting(client, queue) == 0
    assert not in_outbox(client, runs[2])
    parking.release(client._parts, "trainer", permits[1].ticket)
    assert runs[2].refresh().reason == "queued"
    assert in_outbox(client, runs[2])
    assert waiting(client, queue) == 1
    # Leaving twice, as after a crash, sends nobody on.
    parking.release(client._parts, "trainer", permits[1].ticket)
    assert waiting(client, queue) == 1
    assert start(client, runs[2]).granted
    assert registry_of(client).running("trainer") == 2


def test_a_duplicate_message_neither_takes_nor_frees_a_slot(client: Client, queue: str) -> None:
    service = client.services.deploy(Trainer, name="trainer", concurrency=1, queue=queue)
    execution = service.execute("train")
    assert start(client, execution).fresh
    again = registry_of(client).enter("trainer", execution.id, 1)
    assert (again.granted, again.fresh) == (True, False)
    assert registry_of(client).running("trainer") == 1


def test_a_late_leave_of_an_old_attempt_does_not_free_the_slot_of_the_next(client: Client, queue: str) -> None:
    service = client.services.deploy(Trainer, name="trainer", concurrency=1, queue=queue)
    execution = service.execute("train")
    first = start(client, execution)
    client._parts.transitions.retry(execution.id, 1)
    parking.release(client._parts, "trainer", first.ticket)
    second = start(client, execution, 2)
    parking.release(client._parts, "trainer", first.ticket)
    assert second.ticket != first.ticket
    assert registry_of(client).running("trainer") == 1


def test_one_that_is_refused_again_keeps_its_place(client: Client, queue: str) -> None:
    service = client.services.deploy(Trainer, name="trainer", concurrency=1, queue=queue)
    runs = [service.execute("train") for _ in range(3)]
    held = start(client, runs[0])
    for one in runs[1:]:
        start(client, one)
    parking.release(client._parts, "trainer", held.ticket)
    fresh = service.execute("train")
    assert start(client, fresh).granted
    assert not start(client, runs[1]).granted
    assert registry_of(client).parked("trainer") == [runs[1].id, runs[2].id]


def test_a_higher_limit_sends_on_as_many_as_fit(client: Client, queue: str) -> None:
    service = client.services.deploy(Trainer, name="trainer", concurrency=2, queue=queue)
    runs = [service.execute("train") for _ in range(8)]
    for one in runs:
        start(client, one)
    lose_messages(client, queue)
    service.concurrency = 6
    service.update()
    assert waiting(client, queue) == 4
    assert [start(client, one).granted for one in runs[2:6]] == [True] * 4


# -- pause and resume --


@pytest.mark.feature("D61")
def test_a_paused_service_holds_what_comes_and_lets_it_go_in_order(client: Client, queue: str) -> None:
    service = client.services.deploy(Trainer, name="trainer", queue=queue).pause()
    runs = [service.execute("train") for _ in range(5)]
    lose_messages(client, queue)

    assert service.paused
    assert service.version == 1
    assert [start(client, one).granted for one in runs] == [False] * 5
    now = runs[0].refresh()
    assert (now.status, now.reason, now.message) == ("pending", "waiting", "service 'trainer' is paused by alice")
    assert not service.resume().paused
    with client._parts.dispatcher.app.connection_for_read() as connection:
        sent = connection.default_channel.client.lrange(queue, 0, -1)
    # The broker's list is read from its end.
    assert [one.id.encode() in message for one, message in zip(runs, reversed(sent), strict=True)] == [True] * 5
    assert all(start(client, one).granted for one in runs)
    assert [entry["reason"] for entry in runs[0].refresh().status_log] == ["queued", "waiting", "queued", "started"]


@pytest.mark.feature("D61")
def test_what_is_terminated_while_it_waits_never_runs(client: Client, queue: str) -> None:
    service = client.services.deploy(Trainer, name="trainer", queue=queue).pause()
    execution = service.execute("train")
    start(client, execution)
    ended = execution.terminate("not needed")

    assert (ended.status, ended.reason) == ("terminated", "cancelled")
    assert registry_of(client).parked("trainer") == []
    lose_messages(client, queue)
    service.resume()
    assert waiting(client, queue) == 0
    refused = client._parts.transitions.start(execution.id, 1, worker="w", pid=1, pool="prefork")
    assert not isinstance(refused, Started)


def test_resuming_a_limited_service_sends_on_only_what_fits(client: Client, queue: str) -> None:
    service = client.services.deploy(Trainer, name="trainer", queue=queue, concurrency=2).pause()
    runs = [service.execute("train") for _ in range(5)]
    for one in runs:
        start(client, one)
    lose_messages(client, queue)
    service.resume()
    assert waiting(client, queue) == 2


# -- who can die when --


def dead_worker(client: Client, execution: Execution) -> None:
    """What the rescuer does to an attempt whose worker is gone."""
    client._parts.transitions.finish(execution.id, 1, Ending(status=Status.FAILED, reason=Reason.WORKER_LOST))


def test_the_slot_of_a_dead_worker_is_taken_back_when_the_service_is_full(client: Client, queue: str) -> None:
    service = client.services.deploy(Trainer, name="trainer", concurrency=1, queue=queue)
    dead, next_one = service.execute("train"), service.execute("train")
    start(client, dead)
    dead_worker(client, dead)
    assert start(client, next_one).granted
    assert registry_of(client).running("trainer") == 1


def test_the_waker_takes_back_the_slots_of_the_dead_and_sends_on(client: Client, queue: str) -> None:
    service = client.services.deploy(Trainer, name="trainer", concurrency=1, queue=queue)
    dead, parked = service.execute("train"), service.execute("train")
    start(client, dead)
    assert not start(client, parked).granted
    lose_messages(client, queue)
    dead_worker(client, dead)

    report = Waker(client._parts).run_once(0.0)
    assert report.done == 2
    assert report.notes == ("trainer: 1 slots taken back",)
    assert waiting(client, queue) == 1
    assert start(client, parked).granted
    assert Waker(client._parts).run_once(0.0).done == 0


def test_a_worker_that_dies_between_entering_and_starting_keeps_its_slot_for_a_while(
    client: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = client.services.deploy(Trainer, name="trainer", concurrency=1, queue=queue)
    execution = service.execute("train")
    registry = registry_of(client)
    assert registry.enter("trainer", execution.id, 1).granted
    assert registry.reclaim("trainer") == 0
    monkeypatch.setattr(services, "UNSTARTED_S", -1.0)
    assert registry.reclaim("trainer") == 1
    # The publisher sends the message again: it finds a free slot, and its execution waiting.
    assert start(client, execution).granted


def test_a_slot_that_is_entered_again_is_not_taken_back(client: Client, queue: str) -> None:
    service = client.services.deploy(Trainer, name="trainer", concurrency=1, queue=queue)
    execution, registry = service.execute("train"), registry_of(client)
    permit = registry.enter("trainer", execution.id, 1)
    space = client._parts.space
    key = keys.service_slots(space.namespace, "trainer")
    seen = space.client.zscore(key, permit.ticket)
    registry.enter("trainer", execution.id, 1)
    done = services.scripts.SERVICE_RECLAIM(space.client, (key,), (permit.ticket, f"{seen:.0f}"))
    assert done == 0
    assert registry.running("trainer") == 1


def test_a_worker_that_dies_between_the_refusal_and_the_record_loses_nothing(client: Client, queue: str) -> None:
    service = client.services.deploy(Trainer, name="trainer", queue=queue).pause()
    execution = service.execute("train")
    assert not registry_of(client).enter("trainer", execution.id, 1).granted
    assert in_outbox(client, execution)
    service.resume()
    assert start(client, execution).granted


def test_a_releaser_that_dies_before_it_sends_on_is_replaced_by_the_waker(client: Client, queue: str) -> None:
    service = client.services.deploy(Trainer, name="trainer", concurrency=1, queue=queue)
    first, parked = service.execute("train"), service.execute("train")
    permit = start(client, first)
    start(client, parked)
    lose_messages(client, queue)
    finish(client, first)
    assert registry_of(client).leave("trainer", permit.ticket) == [parked.id]  # and dies here

    assert registry_of(client).parked("trainer", chosen=True) == [parked.id]
    assert Waker(client._parts).run_once(0.0).done == 1
    assert waiting(client, queue) == 1
    assert start(client, parked).granted


def test_a_releaser_that_dies_before_the_message_leaves_it_to_the_publisher(client: Client, queue: str) -> None:
    service = client.services.deploy(Trainer, name="trainer", concurrency=1, queue=queue)
    first, parked = service.execute("train"), service.execute("train")
    permit = start(client, first)
    start(client, parked)
    assert not in_outbox(client, parked)
    chosen = registry_of(client).leave("trainer", permit.ticket)
    client._parts.transitions.park(chosen[0], reason=Reason.QUEUED, publish=True)  # and dies here
    assert in_outbox(client, parked)


def test_one_that_ended_while_it_waited_gives_its_turn_to_the_next(client: Client, queue: str) -> None:
    service = client.services.deploy(Trainer, name="trainer", concurrency=1, queue=queue)
    runs = [service.execute("train") for _ in range(3)]
    permit = start(client, runs[0])
    for one in runs[1:]:
        start(client, one)
    lose_messages(client, queue)
    # Whoever terminated it died before it was unparked.
    client._parts.transitions.settle(runs[1].id, Ending(status=Status.TERMINATED, reason=Reason.CANCELLED))
    parking.release(client._parts, "trainer", permit.ticket)
    assert runs[2].refresh().reason == "queued"
    assert waiting(client, queue) == 1
    assert registry_of(client).parked("trainer") == []


def test_what_expires_while_it_waits_is_ended_by_the_waker(client: Client, queue: str) -> None:
    service = client.services.deploy(Trainer, name="trainer", queue=queue).pause()
    execution = service.execute("train", expires=60)
    start(client, execution)
    expires = execution.expires
    assert expires is not None
    Waker(client._parts).run_once(expires.timestamp() - 1)
    assert execution.refresh().status == "pending"
    Waker(client._parts).run_once(expires.timestamp() + 1)
    ended = execution.refresh()
    assert (ended.status, ended.reason) == ("terminated", "expired")
    assert registry_of(client).parked("trainer") == []


def test_a_stale_refusal_does_not_park_a_later_attempt(client: Client, queue: str) -> None:
    service = client.services.deploy(Trainer, name="trainer", queue=queue)
    execution = service.execute("train")
    start(client, execution)
    client._parts.transitions.retry(execution.id, 1)
    client._parts.transitions.park(execution.id, message="late", attempt=1)
    assert execution.refresh().reason == "retrying"


# -- a limit that comes later --


@pytest.mark.feature("D42")
def test_what_started_before_there_was_a_limit_counts_for_it(client: Client, queue: str) -> None:
    service = client.services.deploy(Trainer, name="trainer", queue=queue)
    early = [service.execute("train") for _ in range(3)]
    for one in early:
        assert start(client, one).ticket == ""
    service.concurrency = 3
    service.update()

    late = service.execute("train")
    assert not start(client, late).granted
    finish(client, early[0])
    parking.release(client._parts, "trainer", f"{early[0].id}/1")
    assert start(client, late).granted
    assert registry_of(client).running("trainer") == 3


def test_the_waker_counts_what_an_updater_that_died_did_not(client: Client, queue: str) -> None:
    service = client.services.deploy(Trainer, name="trainer", queue=queue)
    start(client, service.execute("train"))
    client.services.deploy(Trainer, name="trainer", queue=queue, concurrency=1)
    assert Waker(client._parts).run_once(0.0).notes == ("trainer: 1 from before its limit counted",)
    assert Waker(client._parts).run_once(0.0).done == 0
    assert not start(client, service.execute("train")).granted


def test_what_a_reset_means_is_not_inherited_from_an_earlier_attempt(client: Client, queue: str) -> None:
    service = client.services.deploy(Trainer, name="trainer", queue=queue)
    execution, transitions = service.execute("train"), client._parts.transitions
    transitions.start(
        execution.id, 1, worker="w", pid=1, pool="prefork", policy=Policy(on_reset="rerun", max_attempts=5)
    )
    assert execution.refresh()._raw["rp"] == "rerun/5"
    transitions.retry(execution.id, 1)
    transitions.start(execution.id, 2, worker="w", pid=1, pool="prefork")
    assert "rp" not in execution.refresh()._raw


# -- deploying from an app --


def test_importing_a_module_that_deploys_needs_no_server(start_server: Any, namespace: str, tmp_path: Path) -> None:
    server = start_server(folder=tmp_path)
    server.stop()
    app = Celery("late", broker=server.url, set_as_current=False)
    client = executions.install(app)
    deployed = client.services.deploy(Trainer, name="trainer", queue="gpu", concurrency=2)

    assert (deployed.version, deployed.concurrency) == (0, 2)
    assert app.tasks["trainer.detect"].queue == "gpu"
    start_server(folder=tmp_path, port=server.port)
    assert client.services.get("trainer").version == 1
    assert registry_of(client).policy("trainer").execution_timeout == 3600
    client.close()
    app.close()


def test_a_client_without_an_app_says_that_it_could_not_deploy(start_server: Any) -> None:
    server = start_server()
    server.stop()
    with pytest.raises(Unavailable):
        executions.connect(server.url).services.deploy(Trainer, name="trainer")


@pytest.fixture
def installed(
    server_url: str, broker_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Celery, Client]]:
    """An app of the test's own."""
    monkeypatch.setenv("EXECUTIONS_NAMESPACE", namespace)
    app = Celery(f"app-{namespace}", broker=broker_url, set_as_current=False)
    client = executions.install(app, registry=server_url)
    yield app, client
    client.close()
    app.close()


@pytest.mark.feature("D43")
def test_an_update_of_the_queue_moves_what_is_sent_as_a_task_too(installed: tuple[Celery, Client], queue: str) -> None:
    app, client = installed
    service = client.services.deploy(Trainer, name="trainer")
    service.queue = queue
    service.update()
    sent = client.executions.get(app.tasks["trainer.detect"].delay(item=1).id)
    assert (sent.queue, sent.service, waiting(client, queue)) == (queue, "trainer", 1)


def test_a_secret_argument_of_a_service_is_not_shown(installed: tuple[Celery, Client], queue: str) -> None:
    app, client = installed

    def fetch(url: str, token: str) -> None: ...

    client.services.deploy(fetch, name="web", queue=queue)
    sent = client.executions.get(app.tasks["web.fetch"].delay("http://x", "s3cret").id)
    assert sent.inputs["args"] == ["http://x", "[redacted]"]


def test_a_service_runs_eagerly_although_it_is_paused_and_full(installed: tuple[Celery, Client]) -> None:
    app, client = installed
    client.services.deploy(Trainer, name="trainer", concurrency=1).pause()
    result = app.tasks["trainer.detect"].apply(kwargs={"item": 5})
    ended = client.executions.get(result.id)
    assert (result.get(), ended.status, ended.service_version) == (5, "success", 1)
    assert registry_of(client).running("trainer") == 0


def test_deploying_again_in_one_process_replaces_the_code(installed: tuple[Celery, Client]) -> None:
    app, client = installed
    client.services.deploy({"edition": lambda: 1}, name="it")
    client.services.deploy({"edition": lambda: 2}, name="it")
    assert app.tasks["it.edition"].apply().get() == 2
