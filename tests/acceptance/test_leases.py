"""Who may run what, when workers, their children, their leader or the server die or are paused.

| dies or is paused | who notices | what becomes of what ran |
|---|---|---|
| a child | its parent, within a fraction of a second | on_reset, the child's end named; after three such ends poison |
| a worker with its children | the leader, after the lease | on_reset, after three such ends poison |
| a worker, for longer than its lease | the leader; itself when resumed | as above; what still runs is killed |
| a worker whose term nobody knows any more | the leader, by its walk over all that runs | as above |
| nobody: native code holds a worker's interpreter | its pacemaker | it runs on; over its time the worker dies |
| a pacemaker, or it is stopped or hangs | its worker | nothing |
| the leader | the next one, after the lead's end | nothing; what it ran is a lost worker's |
| the leader, for longer than its lead | itself, before its next chore | nothing |
| the server, paused or restarted, however long | nobody is declared lost | it runs on, its end is written later |
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from executions import Execution
from executions.registry import keys
from executions.registry.workers import parse_term
from tests.acceptance.fleet import Fleet, Worker, eventually, lines, make_fleet, words
from tests.conftest import StartServer
from workers.health import file_of, read, run_folder
from workers.processes import descendants

LEASE_S = 1.5
QUICK = {"EXECUTIONS_LEASE_S": str(LEASE_S), "EXECUTIONS_BEAT_S": "0.3"}


@pytest.fixture
def quick(server_url: str, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet whose lost workers are noticed within seconds."""
    yield from make_fleet(server_url, tmp_path, **QUICK)


def everybody(worker: Worker) -> list[int]:
    return [worker.process.pid, *descendants(worker.process.pid)]


def tell(pids: list[int], what: int) -> None:
    for pid in pids:
        os.kill(pid, what)


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def pids(path: str, count: int) -> list[int]:
    """Wait for so many marks, and give who left them."""
    eventually(lambda: lines(path) >= count, f"{count} marks")
    return [int(line) for line in Path(path).read_text().splitlines()]


def pause_of(seconds: float) -> None:
    """Let time go by that has to: a lease runs out by nothing else."""
    until = time.monotonic() + seconds
    eventually(lambda: time.monotonic() > until, timeout=seconds + 30)


def leader_of(fleet: Fleet) -> str:
    """Wait for a leader and give its worker's name."""
    space = fleet.client._parts.space
    term = eventually(lambda: space.client.get(keys.leader(space.namespace)), "a leader")
    return parse_term(term.decode())[0]


def named(fleet: Fleet, name: str) -> Worker:
    return next(worker for worker in fleet.workers if name == f"{worker.name}@test")


def is_registered(fleet: Fleet, worker: Worker) -> bool:
    return any(one.alive and one.name == f"{worker.name}@test" for one in fleet.client.workers.list())


def in_touch(fleet: Fleet) -> None:
    """Wait until the leader would declare somebody lost, so that a test does not pass for want of trying."""
    assert leader_of(fleet)
    pause_of(2 * LEASE_S)


def pacemaker_of(worker: Worker) -> int:
    """Wait until a worker's pacemaker is at work: from then on it ignores what is meant for the worker."""

    def at_work() -> int:
        for pid in descendants(worker.process.pid):
            words = Path(f"/proc/{pid}/status").read_text().split()
            if int(words[words.index("SigIgn:") + 1], 16) >> signal.SIGTERM - 1 & 1:
                return pid
        return 0

    pid: int = eventually(at_work, f"the pacemaker of {worker.name}")
    return pid


# Children --------------------------------------------------------------------------------------------------


@pytest.mark.feature("D62")
@pytest.mark.parametrize(
    ("how", "code", "said"), [("kill", -9, "killed by SIGKILL"), ("exit", 3, "exit code 3")], ids=["signal", "exit"]
)
def test_a_lost_child_is_recorded_with_its_end(prefork: Fleet, how: str, code: int, said: str) -> None:
    done = prefork.client.submit("shop.die", how, prefork.path()).wait(timeout=30)
    assert (done.status, done.reason, done.attempts) == ("failed", "worker-lost", 1)
    assert (done.error.kind, done.error.exit_code) == ("system", code)
    assert said in done.error.message


def test_a_child_killed_from_outside_is_followed_at_once_by_the_next_attempt(prefork: Fleet) -> None:
    path, go_on = prefork.path(), prefork.path()
    one = prefork.client.submit("shop.held", path, go_on)
    (victim,) = pids(path, 1)
    os.kill(victim, signal.SIGSEGV)
    # With the default lease of ten seconds: its parent sees it, nobody waits for the lease.
    eventually(lambda: lines(path) == 2, "the next attempt", timeout=8)
    Path(go_on).touch()
    done = one.wait(timeout=30)
    first, second = done.attempts_log
    assert (first.error.kind, first.error.exit_code, first.worker) == ("system", -signal.SIGSEGV, second.worker)
    assert (done.status, second.error) == ("success", None)


def test_what_kills_each_child_is_given_up_as_poison(prefork: Fleet) -> None:
    # Given a function that may run again as often as it wants, and kills whatever runs it
    path = prefork.path()
    one = prefork.client.submit("shop.die_once", path, 99, on_reset="rerun", max_attempts=50)
    done = one.wait(timeout=60)
    # I expect three attempts, each told apart from an error of the function's own, and a cause
    assert (done.status, done.reason, done.attempts, lines(path)) == ("failed", "worker-lost", 3, 3)
    assert "3 attempts ended with a lost worker" in done.error.message
    assert [(a.error.kind, a.error.exit_code) for a in done.attempts_log] == [("system", -9)] * 3
    # If somebody wants it all the same, I expect the count to begin anew
    again = done.rerun().wait(timeout=60)
    assert (again.status, again.attempts, lines(path)) == ("failed", 6, 6)


@pytest.fixture
def little_memory() -> Iterator[Path]:
    """A control group whose processes the kernel kills for want of memory; only root may make one."""
    version_1 = Path("/sys/fs/cgroup/memory")
    group = (version_1 if version_1.is_dir() else Path("/sys/fs/cgroup")) / f"executions-{os.getpid()}"
    try:
        group.mkdir()
        (group / ("memory.limit_in_bytes" if version_1.is_dir() else "memory.max")).write_text("250000000")
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    yield group
    eventually(lambda: not (group / "cgroup.procs").read_text(), "an empty group")
    group.rmdir()


def test_what_the_system_kills_for_want_of_memory_is_recorded_so_and_given_up(
    prefork: Fleet, little_memory: Path
) -> None:
    # Given a function that takes more memory than there is each time, and another one beside it
    path, go_on = prefork.path(), prefork.path()
    beside = prefork.client.submit("shop.hold", go_on)
    prefork.running(beside)
    one = prefork.client.submit("shop.devour", path, str(little_memory), on_reset="rerun", max_attempts=50)
    done = one.wait(timeout=60)
    # I expect it to be given up after three children, with the cause, and the other to know nothing of it
    assert (done.status, done.reason, done.attempts, lines(path)) == ("failed", "worker-lost", 3, 3)
    assert [(a.error.kind, a.error.exit_code) for a in done.attempts_log] == [("system", -9)] * 3
    assert all("memory had run out" in a.error.message for a in done.attempts_log), done.attempts_log
    Path(go_on).touch()
    beside = beside.wait(timeout=30)
    assert (beside.status, beside.attempts) == ("success", 1)


def test_a_child_whose_own_limit_of_memory_is_reached_lives_on(prefork: Fleet) -> None:
    path, go_on = prefork.path(), prefork.path()
    beside = prefork.client.submit("shop.hold", go_on)
    prefork.running(beside)
    done = prefork.client.submit("shop.devour", path, "").wait(timeout=30)
    assert (done.status, done.reason, done.error.type, done.error.kind) == ("failed", "error", "MemoryError", "user")
    after = prefork.client.submit("shop.add", 1, 2).wait(timeout=30)
    Path(go_on).touch()
    assert (after.output, after.pid) == (3, done.pid)
    assert beside.wait(timeout=30).attempts == 1


def test_without_a_word_about_attempts_poison_ends_too(prefork: Fleet) -> None:
    path = prefork.path()
    prefork.client.submit("shop.die", "kill", path, on_reset="rerun").wait(timeout=60)
    assert lines(path) == 3


# Workers ---------------------------------------------------------------------------------------------------


def test_children_die_with_their_worker_and_its_work_goes_elsewhere(quick: Fleet) -> None:
    path, go_on = quick.path(), quick.path()
    victim, _ = quick.start("prefork", 1), quick.start("prefork", 1)
    one = quick.client.submit("shop.held", path, go_on)
    (child,) = pids(path, 1)
    victim = named(quick, quick.running(one).worker)
    victim.stop(signal.SIGKILL)
    eventually(lambda: not is_there(child), "the child's end")
    pids(path, 2)
    Path(go_on).touch()
    done = one.wait(timeout=30)
    assert (done.status, done.attempts) == ("success", 2)
    assert done.attempts_log[0].error.kind == "system"
    assert victim.name in done.attempts_log[0].error.message
    eventually(lambda: all(w.alive for w in quick.client.workers.list()), "the lost one is off the list")


@pytest.mark.feature("X06")
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_worker_that_was_paused_beyond_its_lease_gives_up_what_it_ran(quick: Fleet, pool: str) -> None:
    # Given a worker that is stopped with all its children while it runs something, and whose work another got
    path, go_on = quick.path(), quick.path()
    paused = quick.start(pool, 1)
    one = quick.client.submit("shop.held", path, go_on)
    (first,) = pids(path, 1)
    term = next(w.term for w in quick.client.workers.list())
    stopped = everybody(paused)
    tell(stopped, signal.SIGSTOP)
    other = quick.start(pool, 1)
    pids(path, 2)
    # If it goes on
    tell(stopped, signal.SIGCONT)
    # I expect it to end at once what is not its own any more
    eventually(lambda: "worker.term_over" in paused.log, "it learns of it", timeout=5)
    if pool == "prefork":
        eventually(lambda: not is_there(first), "the old attempt's end", timeout=5)
    else:
        eventually(lambda: all(w.facts["running"] == 0 for w in quick.client.workers.list() if paused.name in w.name))
    Path(go_on).touch()
    done = one.wait(timeout=30)
    assert (done.status, done.attempts, lines(f"{path}.end")) == ("success", 2, 1)
    assert [a.worker for a in done.attempts_log] == [f"{paused.name}@test", f"{other.name}@test"]
    # and to work on, under a new term
    other.stop()
    assert quick.client.submit("shop.add", 1, 2).wait(timeout=30).worker == f"{paused.name}@test"
    assert term not in {w.term for w in quick.client.workers.list()}
    assert done.refresh().status_log == done.status_log


def test_the_late_end_of_a_paused_worker_is_refused(quick: Fleet) -> None:
    # Given an attempt that was paused and has a successor, and that would end the moment it goes on
    path, go_on, other_go_on = quick.path(), quick.path(), quick.path()
    paused = quick.start("prefork", 1)
    one = quick.client.submit("shop.held", path, go_on, on_reset="failed")
    pids(path, 1)
    stopped = everybody(paused)
    tell(stopped, signal.SIGSTOP)
    quick.start("prefork", 1)
    done = one.wait(timeout=30)
    assert (done.status, done.reason) == ("failed", "worker-lost")
    Path(go_on).touch()
    tell(stopped, signal.SIGCONT)
    eventually(lambda: "worker.term_over" in paused.log, "it learns of it")
    assert quick.client.submit("shop.held", quick.path(), other_go_on).id
    Path(other_go_on).touch()
    assert done.refresh().status_log == done.status_log


def test_what_runs_under_a_term_that_nobody_knows_is_found(quick: Fleet) -> None:
    path, go_on = quick.path(), quick.path()
    victim = quick.start("prefork", 1)
    one = quick.client.submit("shop.held", path, go_on)
    pids(path, 1)
    victim.stop(signal.SIGKILL)
    space = quick.client._parts.space
    assert space.client.delete(keys.workers(space.namespace))
    quick.start("prefork", 1)
    pids(path, 2)
    Path(go_on).touch()
    assert one.wait(timeout=30).attempts == 2


@pytest.mark.parametrize("pool", ["threads", "solo", "gevent"])
def test_native_code_that_holds_the_interpreter_does_not_cost_the_lease(quick: Fleet, pool: str) -> None:
    # Given two workers, and in one of them code that lets nothing else run there for several leases
    path = quick.path()
    for _ in range(2):
        pacemaker_of(quick.start(pool, 1))
    one = quick.client.submit("shop.native", path, round(6 * LEASE_S), on_reset="rerun", max_attempts=3)
    pids(path, 1)
    busy = named(quick, quick.running(one).worker)
    begun = time.monotonic()
    # I expect its machine to hear that it lives
    folder = run_folder(quick.environ.get("EXECUTIONS_RUN_DIR", ""))
    file = file_of(folder, f"{busy.name}@test")
    eventually(lambda: read(file)["written"] > begun + 3 * LEASE_S, "its file tells")
    # and the code to run once, to its end
    done = one.wait(timeout=30)
    assert (done.status, done.attempts, lines(path), lines(f"{path}.end")) == ("success", 1, 1, 1)
    assert "worker.term_over" not in busy.log
    assert [entry["worker"] for entry in done.status_log[2:]] == [f"{busy.name}@test"] * len(done.status_log[2:])


@pytest.mark.parametrize("pool", ["threads", "solo"])
@pytest.mark.parametrize("why", ["limit", "force"])
def test_native_code_that_must_end_ends_with_its_worker(quick: Fleet, pool: str, why: str) -> None:
    # Given code that lets nothing else run in its worker, for a minute
    path = quick.path()
    busy = quick.start(pool, 1, EXECUTIONS_SOFT_AFTER_S="0.5", EXECUTIONS_GRACE_S="1")
    pacemaker_of(busy)
    one = quick.client.submit("shop.native", path, 60, execution_timeout=2 if why == "limit" else 100)
    pids(path, 1)
    quick.start(pool, 1)
    # If its time is over, or somebody insists
    if why == "force":
        one.terminate(force=True, cause="stuck")
    # I expect the worker to be killed, as nothing else can be, and the record to end
    done = one.wait(timeout=30)
    eventually(lambda: busy.process.poll() == -signal.SIGKILL, "the worker's end")
    assert "worker.held" in busy.log
    assert lines(f"{path}.end") == 0
    expected = ("terminated", "requested") if why == "force" else ("failed", "worker-lost")
    assert (done.status, done.reason, done.attempts) == (*expected, 1)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["dies", "hangs"])
def test_a_pacemaker_that_dies_or_hangs_is_replaced_and_ends_with_its_worker(quick: Fleet, how: int) -> None:
    worker = quick.start("threads", 1)
    first = pacemaker_of(worker)
    os.kill(first, how)
    eventually(lambda: not is_there(first), "the end of the first")
    second = pacemaker_of(worker)
    worker.process.kill()
    eventually(lambda: not is_there(second), "the end of the second")


# The leader ------------------------------------------------------------------------------------------------


@pytest.mark.feature("X11")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "paused"])
def test_upkeep_outlives_its_leader(quick: Fleet, how: int) -> None:
    # Given two workers, and the one that leads goes away with something that it ran
    marks = {}
    started = [quick.start("prefork", 1), quick.start("prefork", 1)]
    go_on = quick.path()
    for _ in started:
        path = quick.path()
        marks[path] = quick.client.submit("shop.held", path, go_on)
        pids(path, 1)
    in_touch(quick)
    leader = leader_of(quick)
    path = next(path for path, one in marks.items() if one.refresh().worker == leader)
    gone = everybody(named(quick, leader))
    tell(gone, how)
    lost = marks[path]
    # I expect the other to lead, and to rescue that, within two leases
    eventually(lambda: lost.refresh().reason == "rerun", "its rescue", timeout=2 * LEASE_S + 2)
    assert leader_of(quick) != leader
    if how == signal.SIGSTOP:
        tell(gone, signal.SIGCONT)
        eventually(lambda: is_registered(quick, named(quick, leader)), "the old leader is back")
    Path(go_on).touch()
    ended = [one.wait(timeout=30) for one in marks.values()]
    assert sorted(one.attempts for one in ended) == [1, 2]
    assert {one.status for one in ended} == {"success"}


def test_a_leader_that_leaves_in_order_is_followed_at_once(quick: Fleet) -> None:
    quick.start("threads", 1), quick.start("threads", 1)
    leader = leader_of(quick)
    named(quick, leader).process.send_signal(signal.SIGTERM)
    eventually(lambda: leader_of(quick) != leader, "another leads", timeout=10)


# The server ------------------------------------------------------------------------------------------------


def two_held(fleet: Fleet, path: str, go_on: str) -> list[Execution]:
    for _ in range(2):
        fleet.start("prefork", 1)
    found = [fleet.client.submit("shop.held", path, go_on) for _ in range(2)]
    pids(path, 2)
    in_touch(fleet)
    return found


def nothing_was_lost(fleet: Fleet, held: list[Execution], path: str, go_on: str) -> None:
    eventually(lambda: all(is_registered(fleet, worker) for worker in fleet.workers), "both beat again")
    # Long enough for a leader to do the wrong thing.
    in_touch(fleet)
    assert [one.refresh().status for one in held] == ["running", "running"]
    Path(go_on).touch()
    done = [one.wait(timeout=60) for one in held]
    assert [words(one) for one in done] == [["pending/queued", "running/started", "success"]] * 2
    assert (lines(path), lines(f"{path}.end")) == (2, 2)
    for worker in fleet.workers:
        assert "worker.lost" not in worker.log
        assert "worker.term_over" not in worker.log


@pytest.mark.feature("X07")
def test_a_server_that_pauses_costs_nobody_anything(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(tmp_path / "server")
    maker = make_fleet(server.url, tmp_path, **QUICK)
    fleet = next(maker)
    try:
        path, go_on = fleet.path(), fleet.path()
        held = two_held(fleet, path, go_on)
        for _ in range(3):
            assert server.identity is not None
            os.kill(server.identity.pid, signal.SIGSTOP)
            pause_of(2 * LEASE_S)
            os.kill(server.identity.pid, signal.SIGCONT)
        nothing_was_lost(fleet, held, path, go_on)
    finally:
        maker.close()
        server.stop()


@pytest.mark.feature("X07")
def test_a_server_that_restarts_costs_nobody_anything(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(tmp_path / "server")
    maker = make_fleet(server.url, tmp_path, **QUICK)
    fleet = next(maker)
    try:
        path, go_on = fleet.path(), fleet.path()
        held = two_held(fleet, path, go_on)
        port = server.port
        server.stop()
        pause_of(2 * LEASE_S)
        server = start_server(tmp_path / "server", port)
        nothing_was_lost(fleet, held, path, go_on)
    finally:
        maker.close()
        server.stop()
