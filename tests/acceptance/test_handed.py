"""A child process that was given an execution and does not begin it: it is replaced, and no attempt is spent.

| the child | the connection to the broker | what becomes of the execution |
|---|---|---|
| is stopped before it reads the job | holds | another child runs it |
| is stopped before it reads the job | is cut meanwhile | another runs it, the next job shows that this one is stuck |
| waits for a lock before it takes the attempt | holds | another child runs it |
| runs for longer than it may take to begin | holds | goes on |
| waits in the code of its author when all is done | holds | has ended |
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.fleet import Fleet, Worker, eventually, lines, make_fleet, words
from tests.chaos.proxy import HOST, Proxy
from workers.processes import descendants

#: Seconds that a child may take to begin what it was given; long enough for one that works on a busy machine.
SOON = {"EXECUTIONS_START_WITHIN_S": "3"}

#: The first child that is to take an attempt waits for a lock that nobody releases.
BLOCKED = """
import threading
from pathlib import Path
from executions.celery import permits
from shop import app

ask, first = permits.ask, Path("first-child")

def waiting(*args):
    try:
        first.touch(exist_ok=False)
    except FileExistsError:
        return ask(*args)
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()

permits.ask = waiting
"""

#: Its author's own code goes on for longer than a child may take to begin something.
AFTERWARDS = """
import time
from celery.signals import task_postrun
from shop import app

@task_postrun.connect(weak=False)
def clear_up(**_):
    time.sleep(5)
"""


@pytest.fixture
def fleet(server_url: str, tmp_path: Path) -> Iterator[Fleet]:
    yield from make_fleet(server_url, tmp_path, **SOON)


def stop_child(worker: Worker) -> int:
    """Stop the only child of a worker."""
    (child,) = descendants(worker.process.pid)
    os.kill(child, signal.SIGSTOP)
    return child


def runs_after_one_was_replaced(fleet: Fleet, worker: Worker, execution_id: str) -> None:
    done = fleet.done(execution_id, 40)
    assert (done.status, done.attempts, words(done).count("running/started")) == ("success", 1, 1)
    assert worker.log.count("worker.child_stuck") == 1
    assert "execution.rescued" not in worker.log


def test_a_child_that_does_not_read_its_job_is_replaced(fleet: Fleet) -> None:
    worker = fleet.start("prefork", 1)
    stopped = stop_child(worker)
    waiting = fleet.client.submit("shop.add", 1, 2)
    runs_after_one_was_replaced(fleet, worker, waiting.id)
    assert fleet.client.executions.get(waiting.id).pid != stopped


def test_a_child_that_waits_for_a_lock_before_it_takes_the_attempt_is_replaced(fleet: Fleet) -> None:
    (fleet.folder / "blocked.py").write_text(BLOCKED)
    worker = fleet.start("prefork", 1, app="blocked")
    runs_after_one_was_replaced(fleet, worker, fleet.client.submit("shop.add", 1, 2).id)


def test_a_child_that_does_not_read_its_job_is_replaced_although_the_connection_broke(fleet: Fleet) -> None:
    # Given a stopped child with a job that the pool forgets when its worker's connection breaks
    proxy = Proxy(int(re.findall(r":(\d+)/", fleet.url)[0]))
    try:
        broker = fleet.url.replace(re.findall(r"//(.+)/", fleet.url)[0], f"{HOST}:{proxy.port}")
        worker = fleet.start("prefork", 1, SHOP_BROKER=broker, SHOP_REGISTRY=fleet.url)
        stop_child(worker)
        waiting = fleet.client.submit("shop.add", 1, 2)
        eventually(lambda: f"[{waiting.id}] received" in worker.log, "handed over")
        proxy.cut()
        # I expect it to run all the same: the message comes again
        runs_after_one_was_replaced(fleet, worker, waiting.id)
    finally:
        proxy.close()


def test_a_child_that_has_begun_may_take_its_time(fleet: Fleet) -> None:
    # Given a function that runs for longer than a child may take to begin, and an author's code that does so after it
    (fleet.folder / "afterwards.py").write_text(AFTERWARDS)
    worker = fleet.start("prefork", 1, app="afterwards")
    path = fleet.path()
    both = (fleet.client.submit("shop.sleeping", 4), fleet.client.submit("shop.mark", path))
    # I expect each to have run once, and the child to be the same
    first, second = (fleet.done(one.id, 40) for one in both)
    assert (first.attempts, second.attempts, lines(path)) == (1, 1, 1)
    assert (first.pid == second.pid, "worker.child_stuck" in worker.log) == (True, False)
