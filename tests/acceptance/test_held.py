"""Messages in a worker's hands: whatever becomes of the worker, its connection or the server, none is nowhere."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from executions.registry import keys
from executions.registry.connection import make_client
from tests.acceptance.fleet import PATIENCE_S, Fleet, eventually, lines, make_fleet
from tests.acceptance.test_losses import QUICK
from tests.conftest import StartServer
from workers.processes import descendants

#: Sooner than the publisher would send a message again, which is 20 seconds.
SOON_S = 15.0

#: An installed app whose messages would come twice every second if a visibility timeout counted.
IMPATIENT = """
from shop import app
app.conf.broker_transport_options = {
    "visibility_timeout": 1, "unacked_restore_interval": 1, "unacked_restore_throttle": 1
}
"""

#: What a colleague runs who has never heard of us.
STOCK = """
import os
from celery import Celery
app = Celery("stock", broker=os.environ["SHOP_BROKER"])
@app.task(name="shop.mark")
def mark(path, value=None):
    with open(path, "a") as file:
        file.write("stock\\n")
"""


#: Sends something to a queue that the worker does not consume.
SENDING = """
import shop
from shop import app

@app.task(name="shop.elsewhere")
def elsewhere():
    return shop.add.apply_async((1, 1), queue="elsewhere").id
"""

#: Tells over which connection how many children have work, each time that this is news.
NOSY = """
from celery.signals import worker_ready
from shop import app

told = []

@worker_ready.connect(weak=False)
def arm(sender, **_):
    def look():
        # Before anything is heard over a new connection.
        news = f"{sender.restart_count}:{len(sender.controller.pool._pool._busy_workers)}"
        if news not in told[-1:]:
            told.append(news)
            with open("busy.txt", "a") as file:
                print(news, file=file)

    sender.controller.hub.on_tick.add(look)
"""


@pytest.fixture
def quick(server_url: str, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet whose lost workers are noticed within seconds."""
    yield from make_fleet(server_url, tmp_path, **QUICK)


class Broker:
    """Looks into the lists from outside."""

    def __init__(self, fleet: Fleet) -> None:
        self.client = make_client(fleet.url)
        self.namespace = fleet.environ["EXECUTIONS_NAMESPACE"]

    def holdings(self) -> dict[str, int]:
        found = self.client.zrange(keys.holders(self.namespace), 0, -1)
        split = [entry.decode().partition(":") for entry in found]
        return {one[0] + one[2]: self.client.llen(keys.held(self.namespace, one[0], one[2])) for one in split}

    def held(self) -> int:
        return sum(self.holdings().values())


@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent", "solo"])
def test_what_a_killed_worker_held_is_run_by_another_one(quick: Fleet, pool: str) -> None:
    # Given a worker of one slot with something to do, and more messages in its hands
    path = quick.path()
    busy = quick.client.submit("shop.hold", quick.path())
    marks = [quick.client.submit("shop.mark", path) for _ in range(3)]
    victim = quick.start(pool, 1, "--prefetch-multiplier", "8")
    quick.running(busy)
    broker = Broker(quick)
    eventually(lambda: broker.held() >= 2, "messages in its hands")
    # If it dies
    victim.stop(signal.SIGKILL)
    other = quick.start(pool, 2)
    # I expect another one to run them as soon as its lease is over, and nobody to have sent them again
    for one in marks:
        assert quick.done(one, SOON_S).attempts == 1
    assert lines(path) == 3
    assert "message.given_back" in other.log
    assert "execution.republished" not in other.log
    eventually(lambda: broker.held() == 0, "nothing in a dead worker's hands")


def test_no_moment_to_die_at_loses_a_message(quick: Fleet) -> None:
    # Given messages that are acknowledged when their work is done, and workers that die at any moment
    path, moments, pause = quick.path(), random.Random(3), threading.Event()
    sent = [quick.shop.mark_late.delay(path) for _ in range(400)]
    broker = Broker(quick)
    for _ in range(5):
        victim = quick.start("prefork", 2, "--prefetch-multiplier", "16")
        for _ in range(3):
            pause.wait(moments.uniform(0.0, 0.02))
            victim.process.send_signal(signal.SIGSTOP)
            pause.wait(moments.uniform(0.0, 0.02))
            victim.process.send_signal(signal.SIGCONT)
        victim.process.send_signal(signal.SIGSTOP)
        # I expect every message that was not dealt with to be in one of the lists
        victim.stop(signal.SIGKILL)
        known = broker.client.llen("celery") + broker.held()
        open_ = [one.id for one in sent if quick.client.executions.get(one.id).status == "pending"]
        assert len(open_) <= known
    last = quick.start("prefork", 2)
    for one in sent:
        assert quick.done(one, 60).is_done
    assert "execution.republished" not in last.log
    assert lines(path) <= 400


def test_a_worker_that_was_stopped_past_its_lease_and_comes_back_runs_nothing_twice(quick: Fleet) -> None:
    # Given a worker with messages in its hands that is stopped until it counts as lost
    path, go_on = quick.path(), quick.path()
    busy = quick.client.submit("shop.hold", go_on)
    marks = [quick.client.submit("shop.mark", path) for _ in range(3)]
    stopped = quick.start("threads", 1, "--prefetch-multiplier", "8")
    quick.running(busy)
    broker = Broker(quick)
    eventually(lambda: broker.held() >= 3, "messages in its hands")
    stopped.process.send_signal(signal.SIGSTOP)
    other = quick.start("threads", 1)
    for one in marks:
        quick.done(one, SOON_S)
    # If it comes back
    stopped.process.send_signal(signal.SIGCONT)
    Path(go_on).touch()
    # I expect that none of the messages is run again, and that it takes its share as before
    other.stop()
    late = quick.client.submit("shop.mark", path)
    assert quick.done(late, SOON_S).attempts_log[0].worker.startswith(stopped.name)
    assert lines(path) == 4
    eventually(lambda: broker.held() == 0, "every message acknowledged")


def test_a_worker_that_leaves_hands_its_messages_on_at_once(quick: Fleet) -> None:
    # Given a busy worker with messages in its hands, and a second one
    path, go_on = quick.path(), quick.path()
    busy = quick.client.submit("shop.hold", go_on)
    leaving = quick.start("prefork", 1, "--prefetch-multiplier", "8")
    quick.running(busy)
    marks = [quick.client.submit("shop.mark", path) for _ in range(3)]
    broker = Broker(quick)
    eventually(lambda: broker.held() >= 2, "messages in its hands")
    quick.start("prefork", 2)
    # If the first one is told to quit
    leaving.process.send_signal(signal.SIGQUIT)
    began = time.monotonic()
    # I expect the second one to run them, without waiting for a lease
    for one in marks:
        quick.done(one, SOON_S)
    assert time.monotonic() - began < 3.0
    assert lines(path) == 3


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_a_cut_connection_loses_nothing_and_leaves_nothing_behind(quick: Fleet, pool: str) -> None:
    # Given an idle worker, all of whose connections wait for messages, and one with messages in its hands
    worker = quick.start(pool, 2, "--prefetch-multiplier", "8")
    broker, path, go_on = Broker(quick), quick.path(), quick.path()
    for _ in range(3):
        # If all connections are cut
        before = worker.log.count("mingle: ")
        broker.client.client_kill_filter(_type="normal", skipme=True)
        busy = [quick.client.submit("shop.hold", go_on) for _ in range(2)]
        marks = [quick.client.submit("shop.mark", path) for _ in range(4)]
        for one in busy:
            quick.running(one)
        broker.client.client_kill_filter(_type="normal", skipme=True)
        eventually(lambda before=before: worker.log.count("mingle: ") > before, "a new connection")
        Path(go_on).touch()
        # I expect each execution to run once
        for one in (*busy, *marks):
            assert quick.done(one, SOON_S).attempts == 1
        Path(go_on).unlink()
    assert lines(path) == 12
    eventually(lambda: broker.held() == 0, "every message acknowledged")
    assert "execution.republished" not in worker.log


def test_a_child_that_has_a_job_from_before_a_cut_is_given_no_other(quick: Fleet) -> None:
    # Given a message that was written to a child, which has not taken it yet, when the connection is cut
    (quick.folder / "nosy.py").write_text(NOSY)
    worker = quick.start("prefork", 3, app="nosy")
    broker, path, go_on = Broker(quick), quick.path(), quick.path()
    children = descendants(worker.process.pid)
    for child in children:
        os.kill(child, signal.SIGSTOP)
    busy = quick.client.submit("shop.hold", go_on)
    told = quick.folder / "busy.txt"
    eventually(lambda: told.exists() and told.read_text().split()[-1].endswith(":1"), "its message")
    first = len(told.read_text().split())
    before = worker.log.count("mingle: ")
    broker.client.client_kill_filter(_type="normal", skipme=True)
    eventually(lambda: worker.log.count("mingle: ") > before, "a new connection")
    # I expect the worker to know that this child has work
    eventually(lambda: told.read_text().split()[first:], "its word")
    assert told.read_text().split()[first].endswith(":1")
    for child in children:
        os.kill(child, signal.SIGCONT)
    quick.running(busy)
    # and the others to run all that comes meanwhile, with nothing waiting behind that one
    marks = [quick.client.submit("shop.mark", path) for _ in range(9)]
    for one in marks:
        assert quick.done(one, SOON_S).attempts == 1
    Path(go_on).touch()
    assert quick.done(busy, SOON_S).attempts == 1


def test_a_worker_does_not_come_to_consume_what_it_sends_to(quick: Fleet) -> None:
    # Given a worker that has sent something to a queue of others, and whose connection is cut
    (quick.folder / "sending.py").write_text(SENDING)
    worker = quick.start("threads", 1, app="sending")
    others = quick.done(quick.client.submit("shop.elsewhere"), SOON_S).output
    before = worker.log.count("mingle: ")
    Broker(quick).client.client_kill_filter(_type="normal", skipme=True)
    eventually(lambda: worker.log.count("mingle: ") > before, "a new connection")
    # I expect it to go on with its own queue, and to leave that one
    for _ in range(3):
        assert quick.done(quick.client.submit("shop.add", 1, 2), SOON_S).output == 3
    assert quick.client.executions.get(others).status == "pending"
    assert [one.facts["queues"] for one in quick.client.workers.list()] == [["celery"]]


def test_a_server_that_answers_nothing_is_noticed(start_server: StartServer, tmp_path: Path) -> None:
    # Given an idle worker whose server goes silent, without a word
    server = start_server(tmp_path / "server")
    makes = make_fleet(server.url, tmp_path)
    fleet = next(makes)
    try:
        worker = fleet.start("prefork", 1)
        pid = int(make_client(server.url).info("server")["process_id"])
        signal_to(pid, signal.SIGSTOP)
        try:
            # Its consumer says so, or Celery's heartbeat is the first to try a new connection and goes on trying.
            noticed = ("Connection to broker lost", "registry.unreachable")
            eventually(lambda: any(word in worker.log for word in noticed), "the worker noticed")
        finally:
            signal_to(pid, signal.SIGCONT)
        # I expect it to consume again when the server is back
        assert fleet.client.submit("shop.add", 1, 2).wait(timeout=SOON_S).output == 3
    finally:
        makes.close()
        server.stop()


def test_higher_priorities_go_first_and_queues_take_turns(quick: Fleet) -> None:
    # Given a backlog in two queues and two priorities
    path = quick.path()
    for queue in ("one", "two"):
        for priority in (9, 0):
            for number in range(6):
                quick.shop.echo.apply_async((path, queue, priority, number), queue=queue, priority=priority)
    quick.start("solo", 1, "-Q", "one,two", "--prefetch-multiplier", "4")
    done = eventually(lambda: len(found := finished(quick)) == 24 and found, "all done")
    # I expect the higher priority first, which with Redis is 0, its queues in turn, each in its order
    order = [one.output["args"][1:] if isinstance(one.output, dict) else one.output[0][1:] for one in done]
    assert [priority for _, priority, _ in order] == [0] * 12 + [9] * 12
    assert len({queue for queue, _, _ in order[:4]}) == 2
    for queue in ("one", "two"):
        assert [number for found, _, number in order if found == queue] == [*range(6), *range(6)]


def finished(fleet: Fleet) -> list[Any]:
    found = list(fleet.client.executions.iterate("status:success AND function:shop.echo"))
    return sorted(found, key=lambda one: one.started)


def test_no_visibility_timeout_counts(quick: Fleet) -> None:
    # Given a visibility timeout of a second, a long execution, and a message of a stock app for later
    (quick.folder / "impatient.py").write_text(IMPATIENT)
    worker = quick.start("prefork", 2, app="impatient")
    path, go_on = quick.path(), quick.path()
    plain = Celery("plain", broker=quick.url, set_as_current=False)
    later = plain.send_task("shop.mark", (path,), countdown=6, ignore_result=True)
    long = quick.shop.mark_late.apply_async((path,), countdown=1)
    held = quick.client.submit("shop.hold", go_on)
    # If much more time goes by
    eventually(lambda: lines(path) == 2, "both")
    Path(go_on).touch()
    # I expect that no message came twice
    for one in (later.id, long, held):
        assert quick.done(one).attempts == 1
    assert "execution.refused" not in worker.log
    plain.close()


def test_a_stock_worker_may_serve_the_same_queue(quick: Fleet) -> None:
    # Given one of our workers and one of plain Celery on one queue
    (quick.folder / "stock.py").write_text(STOCK)
    quick.start("threads", 2)
    quick.start("threads", 2, app="stock")
    path = quick.path()
    plain = Celery("plain", broker=quick.url, set_as_current=False)
    # If a stock app sends messages, of any priority
    for number in range(200):
        plain.send_task("shop.mark", (path,), priority=number % 10, ignore_result=True)
    # I expect each to be run once, by either
    eventually(lambda: lines(path) >= 200, "all")
    words = Path(path).read_text().splitlines()
    assert len(words) == 200
    assert 0 < words.count("stock") < 200
    plain.close()


def test_a_queue_that_is_not_consumed_any_more_keeps_its_messages(quick: Fleet) -> None:
    # Given an idle worker that is told to let go of its queue
    quick.start("prefork", 1)
    control = quick.shop.app.control
    asked: dict[str, Any] = {"limit": 1, "timeout": PATIENCE_S}
    eventually(lambda: control.ping(limit=1, timeout=1.0), "a worker that listens")
    assert control.cancel_consumer("celery", reply=True, **asked)
    one = quick.client.submit("shop.add", 1, 2)
    broker = Broker(quick)
    # I expect the message to stay where others can take it, and to be taken when the queue is consumed again
    assert control.ping(**asked)
    assert (broker.client.llen("celery"), broker.held()) == (1, 0)
    assert control.add_consumer("celery", reply=True, **asked)
    assert quick.done(one, 5).output == 3


def test_something_that_is_no_message_does_not_stop_a_worker(quick: Fleet) -> None:
    broker = Broker(quick)
    broker.client.lpush("celery", "{broken", '"text"', '{"properties": null}', b"\xff\xfe")
    worker = quick.start("prefork", 1)
    assert quick.done(quick.client.submit("shop.add", 1, 2)).output == 3
    assert worker.log.count("message.unreadable") == 4
    assert broker.held() == 0


def signal_to(pid: int, number: int) -> None:
    os.kill(pid, number)
