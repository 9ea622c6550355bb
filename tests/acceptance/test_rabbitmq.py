"""RabbitMQ for the messages, with quorum queues, and the registry on its own server beside it."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import celery
import pytest
from celery import chain, chord, group

import executions
from executions.client.health import State
from executions.clock import SYSTEM_CLOCK
from executions.upkeep.publisher import Publisher
from tests.acceptance.fleet import Fleet, eventually, lines, make_fleet, words
from tests.chaos.proxy import HOST, Proxy
from tests.rabbitmq import RabbitMQ

QUICK = {"EXECUTIONS_LEASE_S": "3", "EXECUTIONS_BEAT_S": "0.5"}

_numbers = itertools.count(1)

#: Makes a fleet over RabbitMQ, through another port if told so.
Make = Callable[..., Fleet]


@pytest.fixture
def make(server_url: str, rabbitmq: RabbitMQ, tmp_path: Path) -> Iterator[Make]:
    """Fleets with a queue of their own on the one broker."""
    made: list[Iterator[Fleet]] = []

    def begin(port: int | None = None, kind: str = "quorum") -> Fleet:
        broker = rabbitmq.url if port is None else f"amqp://guest:guest@{HOST}:{port}//"
        made.append(make_fleet(
            server_url, tmp_path, SHOP_BROKER=broker, SHOP_REGISTRY=server_url,
            SHOP_QUEUE=f"q{next(_numbers)}.{os.getpid()}", SHOP_QUEUE_TYPE=kind, **QUICK,
        ))  # fmt: skip
        return next(made[-1])

    yield begin
    for one in made:
        one.close()  # type: ignore[attr-defined]


@pytest.fixture
def quick(make: Make) -> Fleet:
    """A fleet whose lost workers are noticed within seconds."""
    return make()


def send_lost(fleet: Fleet) -> None:
    """Do what upkeep does after twenty seconds."""
    Publisher(fleet.client._parts, after_s=0.01).run_once(SYSTEM_CLOCK.now())


def test_whatever_is_submitted_runs_and_is_recorded(quick: Fleet) -> None:
    shop = quick.shop
    quick.start("prefork", 2)
    assert shop.add.delay(1, 2).get(timeout=30) == 3
    assert chain(shop.add.s(1, 2), shop.add.s(3), shop.add.s(4)).delay().get(timeout=30) == 10
    assert sorted(group(shop.add.s(n, n) for n in range(20)).delay().get(timeout=30)) == [2 * n for n in range(20)]
    assert chord((shop.add.s(n, 1) for n in range(5)), shop.total.s()).delay().get(timeout=30) == 15
    by_name = quick.client.submit("shop.add", 20, 3)
    assert (by_name.wait(timeout=30).output, words(by_name.refresh())[-1]) == (23, "success")
    several = quick.client.map("shop.add", [(n, n) for n in range(50)])
    assert [one.wait(timeout=30).output for one in several] == [2 * n for n in range(50)]
    assert shop.whoami.apply_async(priority=5).get(timeout=30)["priority"] == 5
    assert quick.client.executions.count("status:pending,running") == 0
    assert quick.client.executions.count("status:success") == 1 + 3 + 20 + 6 + 1 + 50 + 1


def test_what_is_for_later_and_what_is_tried_again_waits_in_the_registry(quick: Fleet) -> None:
    quick.start("prefork", 2)
    before = SYSTEM_CLOCK.now()
    later = quick.shop.add.apply_async((1, 2), countdown=1.5)
    again = quick.shop.flaky.delay(2, countdown=1)
    done = quick.done(later)
    assert (done.output, done.attempts) == (3, 1)
    assert done.started is not None
    assert done.started.timestamp() >= before + 1.4
    assert (quick.done(again).output, quick.done(again).attempts) == (2, 2)


def test_what_is_stopped_does_not_run_or_runs_no_further(quick: Fleet) -> None:
    path = quick.path()
    quick.start("prefork", 1)
    running = quick.client.submit("shop.checking")
    quick.running(running)
    queued = quick.client.submit("shop.mark", path)
    assert queued.terminate(cause="not any more").status == "terminated"
    running.terminate(cause="not any more")
    assert quick.done(running).status == "terminated"
    assert quick.client.submit("shop.add", 1, 2).wait(timeout=30).output == 3
    assert lines(path) == 0


def test_a_client_that_knows_no_queue_types_reaches_the_workers_queue(quick: Fleet) -> None:
    # Given a quorum queue, and a client without the app that declared it
    quick.start("prefork", 1)
    queue = quick.environ["SHOP_QUEUE"]
    with executions.connect(quick.client.settings.url, broker=quick.environ["SHOP_BROKER"]) as client:
        # I expect its message to arrive, and the queue to have been left alone
        assert client.submit("shop.add", 1, 2, queue=queue).wait(timeout=15).output == 3
        # And what it sends to a queue that nobody has declared yet to run once somebody did
        early = client.submit("shop.add", 3, 4, queue=f"{queue}.early")
        quick.start("prefork", 1, "-Q", f"{queue}.early")
        send_lost(quick)
        assert early.wait(timeout=15).output == 7


def test_what_a_killed_worker_had_prefetched_runs_elsewhere(quick: Fleet) -> None:
    # Given a worker with one execution running and more in its hands
    path = quick.path()
    victim = quick.start("prefork", 1, "--prefetch-multiplier", "8")
    busy = quick.client.submit("shop.sleeping", 600)
    quick.running(busy)
    marks = [quick.client.submit("shop.mark", path) for _ in range(5)]
    depth = quick.client._parts.dispatcher.depth
    eventually(lambda: depth(quick.environ["SHOP_QUEUE"]) == 0, "all in its hands")
    # If it dies
    victim.stop(signal.SIGKILL)
    other = quick.start("prefork", 2)
    # I expect another one to run them at once: the broker gives them back itself
    for one in marks:
        assert quick.done(one, 10).attempts == 1
    assert lines(path) == 5
    assert "execution.republished" not in other.log
    lost = quick.done(busy)
    assert (lost.status, lost.reason) == ("failed", "worker-lost")


def test_a_killed_child_makes_the_next_attempt(quick: Fleet) -> None:
    path = quick.path()
    quick.start("prefork", 1)
    done = quick.done(quick.client.submit("shop.die_once", path))
    assert (done.status, done.attempts, lines(path)) == ("success", 2, 2)


def test_messages_that_are_purged_come_back(quick: Fleet) -> None:
    # Given a queue that somebody purges
    path, queue = quick.path(), quick.environ["SHOP_QUEUE"]
    marks = [quick.client.submit("shop.mark", path) for _ in range(10)]
    depth = quick.client._parts.dispatcher.depth
    eventually(lambda: depth(queue) == 10, "the messages")
    quick.celery("purge", "-f", "-Q", queue)
    eventually(lambda: depth(queue) == 0, "an empty queue")
    # I expect all of them to be sent again, each once
    send_lost(quick)
    eventually(lambda: depth(queue) == 10, "the messages again")
    quick.start("prefork", 2)
    for one in marks:
        assert quick.done(one).status == "success"
    assert lines(path) == 10


def test_a_queue_that_holds_enough_is_not_filled_further(quick: Fleet) -> None:
    # Given messages that lie in their queue, of which the broker cannot say how old they are
    for _ in range(5):
        quick.client.submit("shop.mark", quick.path())
    queue, depth = quick.environ["SHOP_QUEUE"], quick.client._parts.dispatcher.depth
    eventually(lambda: depth(queue) == 5, "the messages")
    # If they wait for very long
    publisher = Publisher(quick.client._parts, after_s=0.01)
    for _ in range(3):
        publisher.run_once(SYSTEM_CLOCK.now() + 3600)
    # I expect none to be sent again
    assert depth(queue) == 5


@pytest.mark.skipif(celery.VERSION < (5, 5), reason="not shown with Celery before 5.5")
def test_a_connection_that_is_cut_is_made_anew(make: Make, rabbitmq: RabbitMQ) -> None:
    proxy = Proxy(rabbitmq.port)
    try:
        fleet = make(proxy.port)
        path, go_on = fleet.path(), fleet.path()
        fleet.start("prefork", 2)
        held = fleet.client.submit("shop.hold", go_on)
        fleet.running(held)
        # Given connections that are cut, now and in the middle of a message
        for after in (0, 700, 0, 1500):
            proxy.cut(after)
            one = fleet.client.submit("shop.mark", path)
            assert fleet.done(one, 60).attempts == 1
        Path(go_on).touch()
        # I expect what ran meanwhile to have run on, and nothing to have run twice
        assert (fleet.done(held).output, fleet.done(held).attempts) == ("released", 1)
        assert lines(path) == 4
    finally:
        proxy.close()


@pytest.mark.slow
@pytest.mark.skipif(celery.VERSION < (5, 5), reason="not shown with Celery before 5.5")
def test_a_node_that_is_killed_with_messages_in_flight_loses_and_doubles_nothing(
    server_url: str, rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    # Given a node of its own with a quorum queue, one message that runs, some in a worker's hands, some in the queue
    (tmp_path / "rabbitmq").mkdir()
    node = RabbitMQ(rabbitmq.program, tmp_path / "rabbitmq")
    fleets: Iterator[Fleet] | None = None
    try:
        node.start()
        own = {"SHOP_BROKER": node.url, "SHOP_REGISTRY": server_url, "SHOP_QUEUE_TYPE": "quorum"}
        fleets = make_fleet(server_url, tmp_path, **own, **QUICK)
        fleet = next(fleets)
        fleet.start("prefork", 1, "--prefetch-multiplier", "3")
        path, go_on = fleet.path(), fleet.path()
        assert fleet.client.submit("shop.add", 1, 2).wait(timeout=30).output == 3
        held = fleet.client.submit("shop.hold", go_on)
        fleet.running(held)
        marks = [fleet.client.submit("shop.mark", path) for _ in range(8)]
        # If the node dies and comes back while the one runs on
        node.kill()
        node.start()
        Path(go_on).touch()
        # I expect each to have run once
        assert [fleet.done(one, 60).attempts for one in (held, *marks)] == [1] * 9
        assert lines(path) == 8
    finally:
        if fleets is not None:
            fleets.close()  # type: ignore[attr-defined]
        node.stop()


def test_the_doctor_knows_the_broker(quick: Fleet, rabbitmq: RabbitMQ) -> None:
    def broker(client: Any) -> Any:
        return next(check for check in client.health() if check.name == "broker")

    found = broker(quick.client)
    assert (found.state, "guest:guest" in found.found) == (State.OK, False)
    with executions.connect(quick.client.settings.url, broker=f"amqp://guest:guest@{HOST}:1//") as client:
        found = broker(client)
        assert (found.state, "cannot be reached" in found.found) == (State.FAIL, True)
        assert "guest:guest" not in found.found
    wrong = rabbitmq.url.replace("guest:guest", "guest:no")
    with executions.connect(quick.client.settings.url, broker=wrong) as client:
        assert broker(client).state == State.FAIL


@pytest.mark.parametrize("scheme", ["nosuch", "librabbitmq"])
def test_the_doctor_says_that_a_brokers_driver_is_missing(server_url: str, scheme: str) -> None:
    with executions.connect(server_url, broker=f"{scheme}://user:secret@{HOST}:1//") as client:
        found = next(check for check in client.health() if check.name == "broker")
    assert found.state == State.FAIL
    assert f"the driver for {scheme}:// brokers cannot be loaded" in found.found
    assert "secret" not in found.found
