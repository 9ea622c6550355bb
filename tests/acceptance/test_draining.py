"""Workers that leave: on a signal, on a command, one after the other; nothing is lost and nothing runs twice."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from executions.errors import WaitTimeout
from tests.acceptance.fleet import Fleet, Worker, eventually, lines, make_fleet, words
from tests.acceptance.test_losses import QUICK


@pytest.fixture
def quick(server_url: str, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet whose lost workers are noticed within seconds."""
    yield from make_fleet(server_url, tmp_path, **QUICK)


def both_began(path: str) -> bool:
    return lines(path) == 2


def end(worker: Worker, how: int) -> None:
    worker.process.send_signal(how)


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_what_runs_ends_in_peace_and_what_waits_goes_to_others(quick: Fleet, pool: str) -> None:
    # Given a worker that runs one and has others in its hands
    go_on, path = quick.path(), quick.path()
    leaving = quick.start(pool, 1, "--prefetch-multiplier", "8")
    running = quick.client.submit("shop.hold", go_on)
    quick.running(running)
    waiting = [quick.client.submit("shop.mark", path) for _ in range(5)]
    other = quick.start("prefork", 1)
    # If it is asked to shut down
    end(leaving, signal.SIGTERM)
    # I expect the others to be done elsewhere while that one goes on, for longer than a lease
    for one in waiting:
        assert quick.done(one, 15).worker == f"{other.name}@test"
    again = quick.client.submit("shop.mark", path)
    quick.done(again)
    assert running.refresh().status == "running"
    assert leaving.process.poll() is None
    Path(go_on).touch()
    assert quick.done(running).output == "released"
    assert running.refresh().attempts == 1
    assert leaving.process.wait(timeout=20) == 0
    assert lines(path) == 6
    assert "worker.lost" not in other.log


def test_a_worker_outlives_its_lease_while_it_drains(quick: Fleet) -> None:
    """A worker that shuts down still beats: what it runs must not be taken for lost."""
    go_on = quick.path()
    leaving = quick.start("prefork", 1)
    quick.start("prefork", 1, "-Q", "elsewhere")
    running = quick.client.submit("shop.hold", go_on)
    quick.running(running)
    end(leaving, signal.SIGTERM)
    name = f"{leaving.name}@test"
    first = eventually(lambda: quick.client.workers.get(name).facts.get("draining") and quick.client.workers.get(name))
    later = eventually(lambda: (now := quick.client.workers.get(name)).lease_ends > first.lease_ends and now)
    assert later.alive
    Path(go_on).touch()
    assert words(quick.done(running)) == ["pending/queued", "running/started", "success"]


@pytest.mark.parametrize(("again", "ends_as"), [(True, "rerun"), (False, "failed")])
def test_what_does_not_end_in_time_is_handed_on_as_its_policy_says(
    server_url: str, tmp_path: Path, again: bool, ends_as: str
) -> None:
    for quick in make_fleet(server_url, tmp_path, **QUICK, EXECUTIONS_DRAIN_S="1"):
        path, go_on = quick.path(), quick.path()
        leaving = quick.start("prefork", 1)
        options = {} if again else {"on_reset": "failed"}
        running = quick.client.submit("shop.held", path, go_on, **options)
        quick.running(running)
        other = quick.start("prefork", 1, *([] if again else ["-Q", "elsewhere"]))
        end(leaving, signal.SIGTERM)
        if again:
            eventually(partial(both_began, path), "its next attempt elsewhere", 10)
            assert running.refresh().worker == f"{other.name}@test"
            assert "pending/rerun" in words(running.refresh())
            Path(go_on).touch()
            assert quick.done(running).attempts == 2
        else:
            assert words(quick.done(running))[-1] == "failed/reset"
            assert "shuts down" in running.refresh().message
        assert leaving.process.wait(timeout=20) == 0


@pytest.mark.parametrize("signals", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGQUIT,)])
def test_whoever_insists_has_it_handed_on_at_once(quick: Fleet, signals: tuple[int, ...]) -> None:
    path, go_on = quick.path(), quick.path()
    leaving = quick.start("prefork", 1)
    running = quick.client.submit("shop.held", path, go_on)
    quick.running(running)
    quick.start("prefork", 1)
    for number in signals:
        end(leaving, number)
        eventually(lambda: "worker.draining" in leaving.log or leaving.process.poll() is not None, "it heard")
    eventually(lambda: lines(path) == 2, "its next attempt elsewhere", 6)
    Path(go_on).touch()
    assert quick.done(running).attempts == 2
    leaving.process.wait(timeout=20)


def test_a_worker_drains_on_command_and_takes_work_again(quick: Fleet) -> None:
    path, go_on = quick.path(), quick.path()
    worker = quick.start("prefork", 1, "--prefetch-multiplier", "4")
    name, workers = f"{worker.name}@test", quick.client.workers
    running = quick.client.submit("shop.hold", go_on)
    quick.running(running)
    waiting = [quick.client.submit("shop.mark", path) for _ in range(3)]
    workers.drain(name)
    eventually(lambda: workers.get(name).facts.get("draining"), "it says so")
    assert workers.safe_to_remove() == []
    with pytest.raises(WaitTimeout, match="still runs 1"):
        workers.drain(name, wait=True, timeout=0.5)
    Path(go_on).touch()
    assert workers.drain(name, wait=True, timeout=20).name == name
    assert [one.name for one in workers.safe_to_remove()] == [name]
    assert [one.refresh().status for one in waiting] == ["pending"] * 3
    workers.resume(name)
    for one in waiting:
        assert quick.done(one).status == "success"
    assert lines(path) == 3


def test_a_rolling_restart_loses_and_repeats_nothing(quick: Fleet) -> None:
    path = quick.path()
    fleet = [quick.start("prefork", 2) for _ in range(2)]
    sent = [quick.client.submit("shop.mark", path) for _ in range(300)]
    for worker in fleet:
        end(worker, signal.SIGTERM)
        quick.start("prefork", 2)
        assert worker.process.wait(timeout=30) == 0
    ended = [quick.done(one, 30) for one in sent]
    assert {one.status for one in ended} == {"success"}
    assert {one.attempts for one in ended} == {1}
    assert lines(path) == 300
