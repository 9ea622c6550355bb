"""Workers whose connection to RabbitMQ is cut, or goes silent, at any byte: each consumes again, or says it does not.

| what is wrong | how it shows without care |
|---|---|
| a cut while functions run (threads) | two threads read from one socket, and wait for ever for what the other has got |
| a cut that an acknowledgement finds first | another connection is opened, over which nobody consumes |
| silence in a handshake (gevent) | the answer is waited for without a limit |
| silence within a frame | the loop asks for the rest again and again, and sends no heartbeats |
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import celery
import pytest
from kombu import Consumer, Producer, Queue

import executions
from executions.celery import rabbitmq as ours
from tests.acceptance.fleet import Fleet, Worker, eventually, lines, make_fleet
from tests.acceptance.test_health import health, is_ready
from tests.chaos.proxy import HOST, Proxy
from tests.rabbitmq import RabbitMQ
from workers.health import STALLED_S

pytestmark = pytest.mark.skipif(celery.VERSION < (5, 5), reason="not shown with Celery before 5.5")

POOLS = ("prefork", "threads", "gevent")

#: Solo runs functions in the thread that answers heartbeats, so it asks instead.
SILENT_POOLS = (*POOLS, "solo")


@pytest.fixture
def proxy(rabbitmq: RabbitMQ) -> Iterator[Proxy]:
    made = Proxy(rabbitmq.port)
    yield made
    made.close()


@pytest.fixture
def fleet(server_url: str, rabbitmq: RabbitMQ, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet whose clients reach the broker at all times."""
    queue = f"faults.{os.getpid()}.{tmp_path.name}"
    yield from make_fleet(
        server_url, tmp_path, SHOP_BROKER=rabbitmq.url, SHOP_REGISTRY=server_url, SHOP_QUEUE=queue
    )  # fmt: skip


def behind(fleet: Fleet, proxy: Proxy, pool: str, queue: str, **env: str) -> Worker:
    """Start a worker whose messages come through the proxy."""
    broker = f"amqp://guest:guest@{HOST}:{proxy.port}//"
    worker = fleet.start(pool, 3, "-Q", queue, "--prefetch-multiplier", "2", SHOP_BROKER=broker, **env)
    eventually(lambda: is_ready(fleet, worker), "ready")
    return worker


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_consumes_again_after_cuts_in_the_middle_of_its_messages(
    fleet: Fleet, proxy: Proxy, pool: str
) -> None:
    # Given a worker that is busy, and has more in its hands
    path, queue = fleet.path(), fleet.environ["SHOP_QUEUE"]
    worker = behind(fleet, proxy, pool, queue)
    for number, after in enumerate((0, 40, 700, 1, 1500, 2600, 90, 333), 1):
        for _ in range(6):
            fleet.client.submit("shop.sleeping", 0.2)
        # If its connections are cut within what passes then
        proxy.cut(after)
        began = time.monotonic()
        one = fleet.client.submit("shop.mark", path)
        # I expect it to go on, and to have run nothing twice
        assert fleet.done(one, 30).attempts == 1, f"after {after} bytes"
        assert time.monotonic() - began < STALLED_S
        assert lines(path) == number
    assert worker.process.poll() is None
    assert "worker.stalled" not in worker.log


@pytest.mark.slow
@pytest.mark.parametrize("after", [0, 40, 700], ids=["at once", "in a handshake", "in a frame"])
def test_a_worker_whose_broker_goes_silent_says_so_and_goes_on_when_it_is_back(
    fleet: Fleet, rabbitmq: RabbitMQ, after: int
) -> None:
    # Given a worker of each pool
    proxies = {pool: Proxy(rabbitmq.port) for pool in SILENT_POOLS}
    queues = {pool: f"{fleet.environ['SHOP_QUEUE']}.{pool}" for pool in SILENT_POOLS}
    try:
        workers = {pool: behind(fleet, proxies[pool], pool, queues[pool]) for pool in SILENT_POOLS}
        # If nothing comes through any more, without a reset
        for pool, proxy in proxies.items():
            if after == 40:
                proxy.cut()
            proxy.silence(True, after)
            fleet.client.submit("shop.echo", "x" * 4000, queue=queues[pool])
        for pool, worker in workers.items():
            said = "does not consume: the broker has not answered for"
            eventually(lambda worker=worker, said=said: said in health(fleet, f"{worker.name}@test")[1], pool, 30)
        # I expect each of them to consume soon after that is over
        for proxy in proxies.values():
            proxy.heal()
        for pool, worker in workers.items():
            assert fleet.done(fleet.client.submit("shop.add", 1, 2, queue=queues[pool]), STALLED_S).output == 3, pool
            eventually(lambda worker=worker: is_ready(fleet, worker), "ready again")
            assert worker.process.poll() is None
    finally:
        for proxy in proxies.values():
            proxy.close()


@pytest.fixture
def consuming(proxy: Proxy, server_url: str) -> Iterator[tuple[Any, Any]]:
    """A consumer of an installed app, with a message that it has not acknowledged."""
    app = celery.Celery("consuming", broker=f"amqp://guest:guest@{HOST}:{proxy.port}//", set_as_current=False)
    executions.install(app, registry=server_url)
    got: list[Any] = []
    with app.connection_for_read() as connection:
        queue = Queue(f"consuming.{os.getpid()}.{proxy.port}", auto_delete=True)(connection.default_channel)
        queue.declare()
        Producer(connection.default_channel).publish("text", routing_key=queue.name)
        consumer = Consumer(connection.default_channel, [queue], on_message=got.append)
        consumer.consume()
        while not got:
            connection.drain_events(timeout=10)
        yield connection, got[0]
        connection.collect()
    app.close()


def test_a_consumer_hears_of_a_cut_that_its_acknowledgement_was_the_first_to_find(
    proxy: Proxy, consuming: tuple[Any, Any]
) -> None:
    connection, message = consuming
    proxy.cut()

    def refused() -> bool:
        try:
            message.ack()
            message._state = "RECEIVED"
        except connection.connection_errors:
            return True
        return False

    eventually(refused, "an acknowledgement that failed")
    # I expect no new connection, over which nobody consumes
    with pytest.raises(connection.connection_errors) as caught:
        connection.drain_events(timeout=1)
    assert not isinstance(caught.value, socket.timeout)


@pytest.mark.parametrize("call", [
    lambda connection: connection.default_channel.basic_qos(0, 3, False),
    lambda connection: connection.default_channel.close(),
], ids=["a call", "a goodbye"])  # fmt: skip
def test_an_answer_of_the_broker_that_never_comes_is_not_waited_for_without_end(
    proxy: Proxy, consuming: tuple[Any, Any], call: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours, "ANSWERED_WITHIN_S", 0.5)
    monkeypatch.setattr(ours, "GOODBYE_S", 0.5)
    connection, _ = consuming
    proxy.silence(True)
    with pytest.raises(connection.connection_errors, match="has not answered"):
        call(connection)
    assert not connection.connected


def test_what_is_sent_with_confirmation_is_confirmed(rabbitmq: RabbitMQ, server_url: str) -> None:
    app = celery.Celery("confirmed", broker=rabbitmq.url, set_as_current=False)
    app.conf.broker_transport_options = {"confirm_publish": True}
    executions.install(app, registry=server_url)
    with app.connection_for_write() as connection:
        Producer(connection.default_channel).publish("text", routing_key=f"nowhere.{os.getpid()}")
    app.close()
