"""A chord whose worker dies between a member's end and the sending of the body: the body runs all the same, and once.

| dies | what is left | who mends it |
|---|---|---|
| before the member is counted | its record, in due | upkeep counts it |
| as the last one, counted, before the body is sent | the claim of the dead, for seconds | upkeep, once that is over |
| with the body sent, before that is noted | the body's record | upkeep sees it, and sends nothing |
| while it runs the member | an execution that its lease frees | upkeep: the body fails with it |
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import chain, chord

from tests.acceptance.fleet import Fleet, eventually, make_fleet, words

QUICK = {"EXECUTIONS_LEASE_S": "3", "EXECUTIONS_BEAT_S": "0.5"}

#: Kills its worker at the place that is named, when the last of three members ends.
DYING = """
import os, signal
from itertools import count
from celery.canvas import Signature
from executions.celery.backend import RegistryBackend
from shop import app

where, ends = os.environ["DIES"], count(1)
tell, delay = RegistryBackend.on_chord_part_return, Signature.delay

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def telling(*args, **options):
    return die() if next(ends) == 3 and where == "before the count" else tell(*args, **options)

def sending(*args, **options):
    return die(where != "before the body is sent" and delay(*args, **options))

RegistryBackend.on_chord_part_return, Signature.delay = telling, sending
"""


@pytest.fixture
def fleet(server_url: str, tmp_path: Path) -> Iterator[Fleet]:
    yield from make_fleet(server_url, tmp_path, **QUICK)


def nothing_is_owed(fleet: Fleet) -> bool:
    space = fleet.client._parts.space
    return not any(space.client.zcard(keys.due) for keys in space.all_keys())


@pytest.mark.slow
@pytest.mark.parametrize("dies", ["before the count", "before the body is sent", "after the body is sent"])
def test_the_body_runs_once_although_the_worker_of_the_last_member_died(fleet: Fleet, dies: str) -> None:
    # Given a worker that is killed in exactly that moment
    (fleet.folder / "dying.py").write_text(DYING)
    victim = fleet.start("threads", 1, app="dying", DIES=dies)
    add = fleet.shop.add
    result = chord([add.si(1, 1), chain(add.si(0, 2), add.s(3)), add.si(8, 0)], fleet.shop.total.s()).delay()
    assert victim.process.wait(timeout=30) == -signal.SIGKILL
    # If there is another one
    fleet.start("threads", 2)
    # I expect the body to run with what all members gave, and no second time when all is settled
    assert fleet.done(result.id, 60).output == 2 + 5 + 8
    eventually(lambda: nothing_is_owed(fleet), "all told", 40)
    done = fleet.client.executions.get(result.id)
    assert (done.attempts, words(done).count("running/started")) == (1, 1)


@pytest.mark.slow
def test_a_member_that_is_lost_with_its_worker_fails_the_body(fleet: Fleet) -> None:
    victim = fleet.start("threads", 1)
    result = chord([fleet.shop.sleeping.si(600)], fleet.shop.total.s()).delay()
    (member,) = result.parent.results
    fleet.running(member)
    victim.stop(signal.SIGKILL)
    fleet.start("threads", 1)
    assert fleet.done(member, 30).reason == "worker-lost"
    done = fleet.done(result.id, 40)
    assert (done.status, done.reason) == ("failed", "upstream")
