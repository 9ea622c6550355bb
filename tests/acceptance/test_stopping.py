"""Stopping on every pool: what each can do it does within its bounds, what it cannot is said on the record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.fleet import Fleet, eventually, lines, make_fleet, words

#: Short grace periods: what is tested is the order of the steps, not their length.
QUICK = {"EXECUTIONS_SOFT_AFTER_S": "0.5", "EXECUTIONS_GRACE_S": "1.5"}


@pytest.fixture(scope="module", params=["prefork", "threads", "solo", "gevent"])
def pool(
    request: pytest.FixtureRequest, server_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Fleet]]:
    """A fleet with one worker of each pool in turn."""
    for fleet in make_fleet(server_url, tmp_path_factory.mktemp(request.param), **QUICK):
        fleet.start(request.param, 1 if request.param == "solo" else 3)
        yield request.param, fleet


def test_a_checkpoint_stops(pool: tuple[str, Fleet]) -> None:
    _, fleet = pool
    result = fleet.shop.checking.delay(60)
    fleet.running(result).terminate(cause="wrong data")
    done = fleet.done(result, timeout=2)
    assert (done.status, done.reason) == ("terminated", "requested")
    assert words(done) == ["pending/queued", "running/started", "running/terminating", "terminated/requested"]
    assert done.message == "wrong data"
    assert done.stop_request.cause == "wrong data"
    assert result.state == "REVOKED"


def test_a_sleeping_function_is_interrupted_where_the_pool_can(pool: tuple[str, Fleet]) -> None:
    name, fleet = pool
    result = fleet.shop.sleeping.delay(6 if name == "threads" else 600)
    fleet.running(result).terminate()
    if name == "threads":
        eventually(lambda: "not interruptible" in fleet.client.executions.get(result.id).message, "said so")
        assert fleet.client.executions.get(result.id).reason == "terminating"
    done = fleet.done(result, timeout=10)
    assert (done.status, done.reason) == ("terminated", "requested")


def test_code_that_swallows_every_exception_is_stopped(pool: tuple[str, Fleet]) -> None:
    _, fleet = pool
    result = fleet.shop.swallowing.delay(60)
    fleet.running(result).terminate()
    assert fleet.done(result, timeout=10).status == "terminated"


def test_a_coroutine_is_cancelled_at_its_await(pool: tuple[str, Fleet]) -> None:
    _, fleet = pool
    result = fleet.shop.async_sleep.delay(600)
    fleet.running(result).terminate()
    done = fleet.done(result, timeout=3)
    assert (done.status, done.reason) == ("terminated", "requested")


@pytest.mark.parametrize("how", ["sleep", "check", "swallow"])
def test_the_time_limit_holds(pool: tuple[str, Fleet], how: str) -> None:
    name, fleet = pool
    if name == "threads" and how == "sleep":
        pytest.skip("nothing reaches a thread that sleeps")
    result = fleet.shop.timed.delay(how)
    done = fleet.done(result, timeout=10)
    assert (done.status, done.reason) == ("failed", "timeout")
    assert "execution_timeout of 1 s" in done.message
    assert result.state == "FAILURE"


def test_a_coroutines_time_limit_holds(pool: tuple[str, Fleet]) -> None:
    _, fleet = pool
    done = fleet.done(fleet.shop.async_timed.delay(), timeout=10)
    assert (done.status, done.reason) == ("failed", "timeout")


def test_a_time_limit_can_rerun(pool: tuple[str, Fleet]) -> None:
    _, fleet = pool
    path = fleet.path()
    done = fleet.done(fleet.shop.timed_rerun.delay(path), timeout=10)
    assert (done.status, done.reason, done.attempts, lines(path)) == ("failed", "timeout", 2, 2)
    assert words(done)[2] == "pending/rerun"


def test_celerys_hard_limit_holds(pool: tuple[str, Fleet]) -> None:
    name, fleet = pool
    if name == "threads":
        pytest.skip("nothing reaches a thread that sleeps")
    result = fleet.shop.hard_limited.delay()
    done = fleet.done(result, timeout=10)
    assert (done.status, done.reason) == ("failed", "timeout")
    assert result.state == "FAILURE"


@pytest.mark.parametrize("handle", [True, False])
def test_celerys_soft_limit_holds(pool: tuple[str, Fleet], handle: bool) -> None:
    _, fleet = pool
    result = fleet.shop.soft_limited.delay(handle, True)
    done = fleet.done(result, timeout=10)
    if handle:
        assert (done.status, done.output) == ("success", "cleaned up")
    else:
        assert (done.status, done.reason) == ("failed", "timeout")


def test_a_late_stop_never_hits_the_next_execution(pool: tuple[str, Fleet]) -> None:
    name, fleet = pool
    count = 300 if name == "prefork" else 150
    results = [fleet.shop.short.delay(3) for _ in range(count)]
    victims = {result.id for result in results[::2]}
    for result in results[::2]:
        try:
            fleet.client.executions.get(result.id).terminate(force=name == "solo")
        except Exception:
            raise
    for result in results:
        done = fleet.done(result)
        if result.id in victims:
            assert done.status in ("terminated", "success")
        else:
            assert done.status == "success", done
            assert done.output == "ok"


def test_waiting_work_never_starts(pool: tuple[str, Fleet]) -> None:
    _, fleet = pool
    path = fleet.path()
    result = fleet.shop.mark.apply_async((path,), countdown=1)
    fleet.client.executions.get(result.id).terminate(cause="changed my mind")
    done = fleet.done(result)
    assert (done.status, done.reason, done.message) == ("terminated", "cancelled", "changed my mind")
    fleet.done(fleet.shop.add.apply_async((1, 1), countdown=1.5))
    assert lines(path) == 0


@pytest.fixture(scope="module")
def forked(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet with one prefork worker of four children."""
    for fleet in make_fleet(server_url, tmp_path_factory.mktemp("forked"), **QUICK):
        fleet.start("prefork", 4)
        yield fleet


@pytest.mark.parametrize("function", ["sleeping", "holding_lock", "stubborn"])
def test_force_kills_within_five_seconds(forked: Fleet, function: str) -> None:
    path = forked.path()
    sibling = forked.shop.hold.delay(path)
    result = getattr(forked.shop, function).delay()
    forked.running(sibling)
    forked.running(result).terminate(force=True)
    done = forked.done(result, timeout=5)
    assert (done.status, done.reason) == ("terminated", "requested")
    assert forked.client.executions.get(sibling.id).status == "running"
    forked.shop.touch(path)
    assert forked.done(sibling).output == "released"


def test_force_kills_the_children_of_a_function_too(forked: Fleet) -> None:
    path = forked.path()
    result = forked.shop.with_child.delay(path)
    eventually(lambda: lines(path), "grandchild")
    grandchild = Path(path).read_text().strip()
    forked.client.executions.get(result.id).terminate(force=True)
    assert forked.done(result, timeout=5).status == "terminated"
    eventually(lambda: not _alive(grandchild), "the grandchild's end", 5)


def _alive(pid: str) -> bool:
    stat = Path("/proc") / pid / "stat"
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_stubborn_code_is_killed_after_its_grace(forked: Fleet) -> None:
    result = forked.shop.holding_lock.delay(60)
    forked.running(result).terminate(grace=1)
    done = forked.done(result, timeout=5)
    assert (done.status, done.reason) == ("terminated", "requested")


def test_stubborn_code_is_killed_at_its_time_limit(forked: Fleet) -> None:
    result = forked.shop.timed.delay("stubborn")
    done = forked.done(result, timeout=10)
    assert (done.status, done.reason) == ("failed", "timeout")
    assert "execution_timeout of 1 s" in done.message


def test_a_tree_that_still_grows_ends_by_its_root(forked: Fleet) -> None:
    """Given a function that starts one child after another. If its tree is stopped I expect all of it to end."""
    result = forked.shop.growing.delay()
    query = f'root:"{result.id}"'
    eventually(lambda: forked.client.executions.count(query) > 20, "it grows")
    forked.client.executions.terminate_tree(result.id, cause="too much")
    assert forked.done(result).status == "terminated"
    found = [forked.done(one.id) for one in forked.client.executions.iterate(query)]
    assert {one.status for one in found} <= {"terminated", "success"}
    assert forked.client.executions.count(f"{query} AND status:pending") == 0


def test_a_whole_tree_ends_by_its_root(forked: Fleet) -> None:
    result = forked.shop.tree.delay(2)
    query = f'root:"{result.id}"'
    eventually(lambda: forked.client.executions.count(query) == 7, "the tree")
    report = forked.client.executions.terminate_tree(result.id, cause="the whole branch")
    assert report.matched == 7
    found = [forked.done(one.id) for one in forked.client.executions.iterate(query)]
    assert len(found) == 7
    assert {one.status for one in found} == {"terminated"}
    assert forked.done(result).status == "terminated"
