"""Whether a worker is alive, and ready: told by `executions-health` from what it wrote, without any server.

| what is wrong | live | ready |
|---|---|---|
| nothing | yes | yes |
| the worker is gone, stopped, or has another's pid | no | no |
| the main loop hangs, whatever the broker | yes | no, after 15 s; it ends itself after `stalled_exit_s` |
| the broker (Redis) does not answer, the registry does | yes | no, after 15 s; it ends itself after `stalled_exit_s` |
| the same with RabbitMQ, see test_rabbitmq_faults.py | yes | the same |
| the thread that beats hangs, all else goes on | yes | no; it ends itself, others run what it ran |
| a solo worker is busy for longer | yes | yes |
"""

from __future__ import annotations

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.fleet import Fleet, Worker, eventually, make_fleet
from tests.chaos.proxy import HOST, Proxy
from tests.rabbitmq import RabbitMQ
from workers.bootsteps.condition import EXIT_CODE
from workers.health import STALLED_S, file_of
from workers.processes import descendants

#: An app whose worker's main loop waits for ever once a file is there; signals are heard, and change nothing.
WEDGED = """
import pathlib, threading
from celery.signals import worker_ready
from shop import app

def look():
    if pathlib.Path("wedge").exists():
        threading.Event().wait()

@worker_ready.connect(weak=False)
def arm(sender, **_):
    sender.timer.call_repeatedly(0.2, look)
"""

#: An app whose worker's thread that beats waits for ever once a file is there.
MUTE = """
import pathlib, threading
from workers.bootsteps.drain import Drain
from shop import app

look = Drain.look

def hang(*args):
    return threading.Event().wait() if pathlib.Path("mute").exists() else look(*args)

Drain.look = hang
"""

PROBE = str(Path(sys.executable).with_name("executions-health"))


@pytest.fixture
def fleet(server_url: str, tmp_path: Path) -> Iterator[Fleet]:
    yield from make_fleet(server_url, tmp_path)


@pytest.fixture
def proxy(fleet: Fleet) -> Iterator[Proxy]:
    """Stands between a worker's consumer and its broker; the registry is reached without it."""
    made = Proxy(int(re.findall(r":(\d+)/", fleet.url)[0]))
    yield made
    made.close()


def health(fleet: Fleet, *arguments: str) -> tuple[int, str]:
    done = subprocess.run([PROBE, *arguments], env=fleet.environ, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout.strip()


def is_ready(fleet: Fleet, worker: Worker) -> bool:
    return health(fleet, f"{worker.name}@test") == (0, f"{worker.name}@test is ready")


def behind(fleet: Fleet, proxy: Proxy, pool: str, **env: str) -> Worker:
    """Start a worker whose messages come through the proxy."""
    broker = fleet.url.replace(re.findall(r"//(.+)/", fleet.url)[0], f"{HOST}:{proxy.port}")
    worker = fleet.start(pool, 1, SHOP_BROKER=broker, SHOP_REGISTRY=fleet.url, **env)
    eventually(lambda: is_ready(fleet, worker), "ready")
    return worker


def test_a_worker_is_ready_once_it_consumes_and_says_no_more_when_it_has_left(fleet: Fleet) -> None:
    code, said = health(fleet)
    assert (code, said.startswith("no worker of this machine")) == (1, True)
    worker = fleet.start()
    eventually(lambda: is_ready(fleet, worker), "ready")
    assert health(fleet, "--live") == (0, f"{worker.name}@test is live")
    found = json.loads(health(fleet, "--json")[1])
    assert [(one["name"], one["pid"], one["ready"]) for one in found] == [
        (f"{worker.name}@test", worker.process.pid, True)
    ]
    worker.stop()
    assert health(fleet, "--live")[0] == 1
    assert list((fleet.folder / "run").iterdir()) == []


def test_a_worker_that_was_stopped_or_killed_is_red_at_once(fleet: Fleet) -> None:
    worker = fleet.start()
    eventually(lambda: is_ready(fleet, worker), "ready")
    worker.process.send_signal(signal.SIGSTOP)
    eventually(lambda: health(fleet, "--live")[0] == 1, "red", 2)
    worker.process.send_signal(signal.SIGCONT)
    eventually(lambda: is_ready(fleet, worker), "green again")
    worker.process.kill()
    worker.process.wait()
    assert health(fleet, "--live") == (1, f"{worker.name}@test is gone: process {worker.process.pid} has ended")


def test_a_folder_that_is_somebody_elses_is_not_written_to(fleet: Fleet, tmp_path: Path) -> None:
    folder = tmp_path / f"executions-{os.getuid()}"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    worker = fleet.start("threads", 1, EXECUTIONS_RUN_DIR="", TMPDIR=str(tmp_path))
    assert "worker.untold" in worker.log
    assert list(folder.iterdir()) == []


def test_another_process_with_its_pid_is_not_taken_for_the_worker(fleet: Fleet) -> None:
    folder = fleet.folder / "run"
    folder.mkdir()
    Path(file_of(str(folder), "w/1")).write_text(
        json.dumps({"name": "w/1", "pid": os.getpid(), "started": "1", "written": time.monotonic()})
    )
    assert health(fleet, "w/1", "--live") == (1, f"w/1 is gone: process {os.getpid()} has ended")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pid": "x"}', '{"pid": 1, "started": null}'])
def test_a_damaged_file_is_a_no_and_no_traceback(fleet: Fleet, text: str) -> None:
    folder = fleet.folder / "run"
    folder.mkdir()
    (folder / "w.json").write_text(text)
    assert health(fleet)[0] == 1
    assert health(fleet, "w", "--live")[0] == 1


@pytest.mark.slow
def test_a_worker_that_does_not_consume_is_not_ready_and_is_when_it_does_again(fleet: Fleet, proxy: Proxy) -> None:
    worker = behind(fleet, proxy, "prefork", EXECUTIONS_STALLED_EXIT_S="inf")
    began = time.monotonic()
    proxy.silence(True)
    eventually(lambda: health(fleet)[0] == 1, "not ready", STALLED_S + 5)
    assert time.monotonic() - began > STALLED_S - 3
    assert "does not consume: the broker has not answered" in health(fleet)[1]
    assert health(fleet, "--live")[0] == 0
    assert worker.log.count("worker.stalled") == 1
    eventually(lambda: fleet.client.workers.list()[0].facts["stalled"], "told to all")
    table = [sys.executable, "-m", "executions.cli", "--url", fleet.url, "workers"]
    assert "stalled" in subprocess.run(table, env=fleet.environ, capture_output=True, text=True, check=True).stdout
    proxy.heal()
    eventually(lambda: is_ready(fleet, worker), "ready again", 60)
    assert fleet.client.submit("shop.add", 1, 2).wait(timeout=30).output == 3


@pytest.mark.slow
def test_a_worker_that_does_not_consume_any_more_ends_itself(fleet: Fleet, proxy: Proxy) -> None:
    worker = behind(fleet, proxy, "threads", EXECUTIONS_STALLED_EXIT_S="16", EXECUTIONS_GRACE_S="5")
    proxy.silence(True)
    code = worker.process.wait(timeout=60)
    assert "worker.gives_up" in worker.log
    assert code in (0, EXIT_CODE)


@pytest.mark.slow
def test_a_worker_whose_loop_hangs_for_ever_is_gone_with_its_children(fleet: Fleet) -> None:
    (fleet.folder / "wedged.py").write_text(WEDGED)
    worker = fleet.start("prefork", 1, app="wedged", EXECUTIONS_STALLED_EXIT_S="1", EXECUTIONS_GRACE_S="5")
    eventually(lambda: is_ready(fleet, worker), "ready")
    children = descendants(worker.process.pid)
    (fleet.folder / "wedge").touch()
    assert worker.process.wait(timeout=60) == EXIT_CODE
    eventually(lambda: not any(Path(f"/proc/{child}").exists() for child in children), "no child left")


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_worker_that_cannot_beat_any_more_ends_for_its_supervisor(fleet: Fleet, pool: str) -> None:
    # Given a worker with nobody to beat, hear stops and watch limits, while its consumer and the registry are well
    (fleet.folder / "mute.py").write_text(MUTE)
    worker = fleet.start(pool, 1, app="mute", EXECUTIONS_STALLED_EXIT_S="1", EXECUTIONS_GRACE_S="5")
    eventually(lambda: is_ready(fleet, worker), "ready")
    gate = fleet.path("gate")
    held = fleet.client.submit("shop.hold", gate, on_reset="rerun", max_attempts=3)
    fleet.running(held)
    (fleet.folder / "mute").touch()
    eventually(lambda: not is_ready(fleet, worker), "not ready")
    if pool == "threads":  # its pacemaker keeps its lease, so that what runs may end
        Path(gate).touch()
    assert worker.process.wait(timeout=60) in (0, EXIT_CODE)
    assert "worker.mute" in worker.log
    # I expect what it ran to be run by another, where it had not ended
    Path(gate).touch()
    (fleet.folder / "mute").unlink()
    fleet.start("threads", 1)
    done = fleet.done(held.id, 40)
    assert (done.output, done.attempts) == ("released", 2 if pool == "prefork" else 1)


@pytest.mark.slow
def test_so_is_one_whose_broker_is_no_redis(server_url: str, rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    own = {"SHOP_BROKER": rabbitmq.url, "SHOP_REGISTRY": server_url, "SHOP_QUEUE": f"wedged.{os.getpid()}"}
    for fleet in make_fleet(server_url, tmp_path, **own):
        (fleet.folder / "wedged.py").write_text(WEDGED)
        quiet = fleet.start("threads", 1, EXECUTIONS_STALLED_EXIT_S="1", EXECUTIONS_GRACE_S="5")
        worker = fleet.start("threads", 1, app="wedged", EXECUTIONS_STALLED_EXIT_S="1", EXECUTIONS_GRACE_S="5")
        eventually(lambda worker=worker, fleet=fleet: is_ready(fleet, worker), "ready")
        (fleet.folder / "wedge").touch()
        assert worker.process.wait(timeout=60) == EXIT_CODE
        # One that has nothing to do lives on
        assert is_ready(fleet, quiet)


@pytest.mark.slow
def test_a_solo_worker_that_is_busy_is_ready_all_the_time(fleet: Fleet) -> None:
    worker = fleet.start("solo", 1, EXECUTIONS_STALLED_EXIT_S="16")
    gate = fleet.path("gate")
    held = fleet.client.submit("shop.hold", gate)
    fleet.running(held)
    until = time.monotonic() + STALLED_S + 4
    while time.monotonic() < until:
        eventually(lambda: is_ready(fleet, worker), "ready", 2)
    Path(gate).touch()
    assert held.wait(timeout=30).output == "released"
    assert is_ready(fleet, worker)


def test_the_question_costs_little(fleet: Fleet) -> None:
    worker = fleet.start("threads", 1)
    eventually(lambda: is_ready(fleet, worker), "ready")
    seen = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "workers.health"],
        env=fleet.environ, capture_output=True, text=True, check=True,
    ).stderr  # fmt: skip
    names = {line.rpartition("|")[2].strip().partition(".")[0] for line in seen.splitlines()}
    assert names & {"celery", "kombu", "redis", "click", "executions", "argparse"} == set()

    def took() -> float:
        began = time.perf_counter()
        health(fleet)
        return time.perf_counter() - began

    # Half a second is what importing Celery takes; the machine that tests may be busy.
    assert statistics.median(took() for _ in range(9)) < 0.25
