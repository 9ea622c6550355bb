"""Who waits for an execution learns of its end, whoever died over it: the rest of a chain, and those called on failure.

| dies | what is left | who mends it |
|---|---|---|
| the worker, while it runs | an execution that its lease frees | the rescuer writes the end, upkeep tells |
| the worker, between the end and the telling | the record, in due | upkeep tells |
| the worker, while it tells | the record, in due | upkeep tells again, which changes nothing |
| the worker, when the chord has counted, before the errbacks | the record, in due | upkeep tells |
| nobody: terminated while it waited | the record, in due | upkeep tells, no message is needed |
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from celery import chain, chord
from celery.exceptions import TaskRevokedError

from tests.acceptance.fleet import Fleet, eventually, make_fleet, words
from tests.acceptance.test_chords import QUICK, nothing_is_owed

#: Kills its worker at the place that is named, when an execution has failed.
DYING = """
import os, signal
from executions.celery import recording
from executions.celery.backend import RegistryBackend
from shop import app

where, follow, call = os.environ["DIES"], recording.fail_followers, RegistryBackend._call_task_errbacks

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def following(*args):
    return die() if where == "before the chain" else follow(*args)

def calling(backend, request, *args):
    # Of the body of a chord it is asked too, which has none.
    return request.errbacks and die(where == "after the errbacks" and call(backend, request, *args))

recording.fail_followers, RegistryBackend._call_task_errbacks = following, calling
"""


@pytest.fixture
def fleet(server_url: str, tmp_path: Path) -> Iterator[Fleet]:
    for made in make_fleet(server_url, tmp_path, **QUICK):
        yield made
        # What was told of may be told of once more, and nothing of that is to be left in the broker
        eventually(partial(nothing_waits, made), "all ended")


def nothing_waits(fleet: Fleet) -> bool:
    return not fleet.client.executions.count("status:pending OR status:running")


def never_ran(fleet: Fleet, execution_id: str) -> None:
    done = fleet.done(execution_id, 40)
    assert (done.status, done.reason, done.attempts) == ("failed", "upstream", 0)


@pytest.mark.slow
@pytest.mark.parametrize("dies", ["before the chain", "before the errbacks", "after the errbacks"])
def test_a_chain_and_its_errback_are_told_although_the_worker_died(fleet: Fleet, dies: str) -> None:
    # Given a worker that is killed when the first of a chain has failed, before it has told all
    shop = fleet.shop
    (fleet.folder / "dying.py").write_text(DYING)
    victim = fleet.start("threads", 1, app="dying", DIES=dies)
    first = shop.fail.si().set(link_error=shop.on_error_id.s())
    last = chain(first, shop.add.si(1, 1), shop.add.si(2, 2)).apply_async()
    assert victim.process.wait(timeout=30) == -signal.SIGKILL
    # If there is another one
    fleet.start("threads", 1)
    # I expect both that come after it to have a record that says so, and the errback to be called
    never_ran(fleet, last.id)
    never_ran(fleet, last.parent.id)
    eventually((fleet.folder / f"errback-{last.parent.parent.id}").exists, "the errback", 40)
    eventually(lambda: nothing_is_owed(fleet), "all told", 40)
    assert words(fleet.client.executions.get(last.parent.parent.id)).count("running/started") == 1


@pytest.mark.slow
def test_the_errback_of_a_member_is_told_although_the_worker_died_once_the_chord_had_counted_it(fleet: Fleet) -> None:
    # Given a worker that is killed when a chord has heard of a failed member, before the member's errback is called
    shop = fleet.shop
    (fleet.folder / "dying.py").write_text(DYING)
    victim = fleet.start("threads", 1, app="dying", DIES="before the errbacks")
    body = chord([shop.fail.si().set(link_error=shop.on_error_id.s())], shop.total.s()).delay()
    assert victim.process.wait(timeout=30) == -signal.SIGKILL
    # If there is another one
    fleet.start("threads", 1)
    # I expect the errback to be called all the same
    eventually((fleet.folder / f"errback-{body.parent.results[0].id}").exists, "the errback", 40)
    never_ran(fleet, body.id)
    eventually(lambda: nothing_is_owed(fleet), "all told", 40)


@pytest.mark.slow
def test_a_chain_and_its_errback_are_told_of_what_was_lost_with_its_worker(fleet: Fleet) -> None:
    shop = fleet.shop
    victim = fleet.start("threads", 1)
    first = shop.sleeping.si(600).set(link_error=shop.on_error_id.s())
    last = chain(first, shop.add.si(1, 1)).apply_async()
    fleet.running(last.parent)
    victim.stop(signal.SIGKILL)
    fleet.start("threads", 1)
    assert fleet.done(last.parent, 30).reason == "worker-lost"
    never_ran(fleet, last.id)
    eventually((fleet.folder / f"errback-{last.parent.id}").exists, "the errback", 40)
    eventually(lambda: nothing_is_owed(fleet), "all told", 40)


def test_a_chain_is_told_of_what_was_terminated_before_its_time_without_a_message(fleet: Fleet) -> None:
    shop = fleet.shop
    last = chain(shop.add.si(1, 1).set(countdown=3600, queue="nobody"), shop.add.si(2, 2)).apply_async()
    fleet.client.executions.get(last.parent.id).terminate()
    # If there is a worker, although none of the queue that its message would go to
    fleet.start("threads", 1)
    never_ran(fleet, last.id)
    with pytest.raises(TaskRevokedError):
        last.get(timeout=10)
    eventually(lambda: nothing_is_owed(fleet), "all told", 40)


def test_what_a_living_worker_has_told_is_owed_no_more(fleet: Fleet) -> None:
    shop = fleet.shop
    fleet.start("threads", 1)
    last = chain(shop.fail.si().set(link_error=shop.on_error_id.s()), shop.add.si(1, 1)).apply_async()
    never_ran(fleet, last.id)
    eventually((fleet.folder / f"errback-{last.parent.id}").exists, "the errback")
    # Sooner than upkeep would look for it
    eventually(lambda: nothing_is_owed(fleet), "all told", 5)
