"""Workers, messages and servers that go away, and what becomes of the executions."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from executions.clock import SYSTEM_CLOCK
from executions.errors import Unavailable
from tests.acceptance.fleet import Fleet, eventually, lines, make_fleet, words
from tests.conftest import StartServer
from workers.local.server import HOST

#: Short enough for a test, long enough for a busy machine.
QUICK = {"EXECUTIONS_LEASE_S": "3", "EXECUTIONS_BEAT_S": "0.5"}


@pytest.fixture
def quick(server_url: str, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet whose lost workers are noticed within seconds."""
    yield from make_fleet(server_url, tmp_path, **QUICK)


@pytest.mark.feature("D62", "X06", "F83")
def test_what_a_killed_worker_ran_is_failed_or_runs_again(quick: Fleet) -> None:
    # Given a worker that runs two executions, one of which may run again, and dies
    path, go_on = quick.path(), quick.path()
    victim = quick.start("prefork", 2)
    lost = quick.client.submit("shop.sleeping", 600)
    again = quick.client.submit("shop.hold", go_on, on_reset="rerun", max_attempts=2)
    quick.running(lost)
    quick.running(again)
    victim.process.send_signal(signal.SIGKILL)
    victim.process.wait(timeout=10)
    Path(go_on).touch()
    quick.start("prefork", 1)
    # I expect the first to have failed for that, and the second to have been run by the other worker
    done = lost.wait(timeout=60)
    assert (done.status, done.reason, done.error.kind) == ("failed", "worker-lost", "system")
    again = again.wait(timeout=60)
    assert (again.status, again.attempts, again.output) == ("success", 2, "released")
    assert "pending/rerun" in words(again)
    assert again.attempts_log[0].worker != again.attempts_log[1].worker
    assert lines(path) == 0


@pytest.mark.feature("X07")
@pytest.mark.parametrize("how", ["retry", "function", "chain"])
def test_a_function_that_goes_on_otherwise_waits_for_a_server_that_is_away(
    start_server: StartServer, tmp_path: Path, how: str
) -> None:
    # Given a function that retries, or is replaced, while the server is away
    server = start_server(tmp_path / "server")
    fleet_maker = make_fleet(server.url, tmp_path)
    fleet = next(fleet_maker)
    try:
        fleet.start("prefork", 1)
        go_on = fleet.path()
        held = fleet.client.submit("shop.hold_and_go_on", go_on, how)
        fleet.running(held)
        port = server.port
        server.stop()
        Path(go_on).touch()
        what = "waiting for what replaces it" if how == "chain" else "opening the next attempt"
        eventually(lambda: f"while_doing={what}" in fleet.workers[0].log, "the function waits")
        server = start_server(tmp_path / "server", port)
        # I expect it to go on as it wanted
        done = eventually(lambda: (one := fleet.find(held.id)) and one.is_done and one, "the end", 60)
        assert (done.status, done.attempts, done.output) == ("success", 2, 3)
    finally:
        fleet_maker.close()
        server.stop()


@pytest.mark.feature("X07")
def test_a_function_outlives_a_restart_of_the_server(start_server: StartServer, tmp_path: Path) -> None:
    # Given a function that runs while its server goes away, and ends before the server is back
    server = start_server(tmp_path / "server")
    fleet_maker = make_fleet(server.url, tmp_path)
    fleet = next(fleet_maker)
    try:
        fleet.start("prefork", 1)
        path, go_on = fleet.path(), fleet.path()
        fleet.client.submit("shop.mark", path).wait(timeout=30)
        held = fleet.client.submit("shop.hold", go_on)
        fleet.running(held)
        port = server.port
        server.stop()
        Path(go_on).touch()
        eventually(lambda: "registry.unreachable" in fleet.workers[0].log, "the worker noticed")
        server = start_server(tmp_path / "server", port)
        # I expect its result, everything from before, and a worker that goes on
        done = eventually(lambda: (one := fleet.find(held.id)) and one.is_done and one, "the end", 60)
        assert (done.status, done.attempts, done.output) == ("success", 1, "released")
        assert fleet.client.submit("shop.add", 1, 2).wait(timeout=60).output == 3
        assert lines(path) == 1
    finally:
        fleet_maker.close()
        server.stop()


def refuse_by_memory(server: redis.Redis, on: bool) -> None:
    server.config_set("maxmemory", 1 if on else 0)


def refuse_as_a_replica(server: redis.Redis, on: bool) -> None:
    # Of a server that is not there: it serves what it has, and takes nothing.
    server.execute_command("REPLICAOF", *((HOST, "1") if on else ("NO", "ONE")))  # type: ignore[no-untyped-call]


def refuse_by_disk(server: redis.Redis, on: bool) -> None:
    server.config_set("stop-writes-on-bgsave-error", "yes")
    server.config_set("save", "3600 1" if on else "")
    if not on:
        return
    # A folder cannot be replaced by the file of a snapshot.
    snapshot = Path(server.config_get("dir")["dir"], server.config_get("dbfilename")["dbfilename"])
    (snapshot / "taken").mkdir(parents=True)
    server.bgsave()
    eventually(lambda: server.info("persistence")["rdb_last_bgsave_status"] == "err", "the failed snapshot")


@pytest.mark.feature("X07")
@pytest.mark.parametrize("refuse", [refuse_by_memory, refuse_as_a_replica, refuse_by_disk])
def test_a_server_that_takes_nothing_for_longer_than_a_lease_costs_no_execution(
    start_server: StartServer, tmp_path: Path, refuse: Callable[[redis.Redis, bool], None]
) -> None:
    # Given two workers, a function that ends while the server reads but does not write, and one that goes on
    server = start_server(tmp_path / "server")
    fleet_maker = make_fleet(server.url, tmp_path, **QUICK)
    fleet = next(fleet_maker)
    admin = redis.Redis.from_url(server.url)
    try:
        workers = [fleet.start("prefork", 1) for _ in range(2)]
        ends, goes_on = fleet.path(), fleet.path()
        held = [fleet.client.submit("shop.hold", path) for path in (ends, goes_on)]
        for one in held:
            fleet.running(one)
        refuse(admin, True)
        with pytest.raises(Unavailable):
            fleet.client.submit("shop.add", 1, 2)
        Path(ends).touch()
        eventually(lambda: any("writing an end" in worker.log for worker in workers), "its end cannot be written")
        held_up = SYSTEM_CLOCK.monotonic() + 2 * float(QUICK["EXECUTIONS_LEASE_S"])
        eventually(lambda: SYSTEM_CLOCK.monotonic() > held_up, "two leases are over", 30)
        refuse(admin, False)
        # I expect both to end as if nothing had been, and the workers to go on
        Path(goes_on).touch()
        done = [one.wait(timeout=60) for one in held]
        assert [(one.status, one.attempts, one.output) for one in done] == [("success", 1, "released")] * 2
        assert fleet.client.submit("shop.add", 1, 2).wait(timeout=60).output == 3
        assert [worker.process.poll() for worker in workers] == [None, None]
    finally:
        admin.close()
        fleet_maker.close()
        server.stop()


@pytest.mark.parametrize(
    "option", [("--max-tasks-per-child", "3"), ("--max-memory-per-child", "1")], ids=["calls", "memory"]
)
def test_children_that_are_replaced_before_they_grow_cost_no_execution_an_attempt(
    fleet: Fleet, option: tuple[str, str]
) -> None:
    # Given a worker that replaces each child after three calls, or at once for what memory it has
    worker = fleet.start("prefork", 2, *option)
    executions = [fleet.client.submit("shop.add", number, 1) for number in range(20)]
    done = [one.wait(timeout=60) for one in executions]
    # I expect each execution to have run once, in one of many children, and nobody to be called lost
    assert [(one.status, one.attempts, one.output) for one in done] == [
        ("success", 1, number + 1) for number in range(20)
    ]
    assert len({one.attempts_log[0].pid for one in done}) >= 6
    assert "lost" not in worker.log
