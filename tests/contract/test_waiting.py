"""What `wait()` waits for, whatever the execution does meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from executions import Client, InvalidInput, WaitTimeout
from tests.contract.world import FAILURE, REJECTED, SUCCESS, World


@pytest.fixture
def client(world: World) -> Iterator[Client]:
    with Client(world.parts) as made:
        yield made


def test_started_is_seen_however_late_one_looks(world: World, client: Client) -> None:
    one = world.submit()
    waiting = client.executions.get(one)
    thread = threading.Thread(target=world.start, args=(one,))
    thread.start()
    assert waiting.wait(timeout=20, until="started").status == "running"
    thread.join()
    # The picture is of before the start, or of after it: both are told that it has started.
    assert waiting.refresh().wait(timeout=20, until="started").status == "running"
    with pytest.raises(WaitTimeout):
        waiting.refresh().wait(timeout=0.05, until="change")


@pytest.mark.feature("D49")
def test_a_rerun_waits_for_its_own_end(world: World, client: Client) -> None:
    one = world.submit()
    world.start(one)
    world.transitions.finish(one, 1, FAILURE)
    again = client.executions.get(one).rerun()
    with pytest.raises(WaitTimeout, match="which is pending"):
        again.wait(timeout=0.05)
    world.start(one, 2)
    world.transitions.finish(one, 2, SUCCESS)
    assert (again.wait(timeout=20).status, again.attempts) == ("success", 1)


def test_a_rerun_that_is_refused_is_over(world: World, client: Client) -> None:
    one = world.submit()
    world.terminate(one)
    again = client.executions.get(one).rerun()
    world.transitions.settle(one, REJECTED)
    assert again.wait(timeout=20).reason == "rejected"


def test_other_words_are_refused(world: World, client: Client) -> None:
    with pytest.raises(InvalidInput, match="'done', 'change' or 'started', not 'soon'"):
        client.executions.get(world.submit()).wait(until="soon")
