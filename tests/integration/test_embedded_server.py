"""The embedded server: started, found again, and never mistaken for somebody else's process."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from executions.errors import Conflict, Unavailable
from tests.conftest import Eventually, StartServer
from workers.local.processes import ProcessId
from workers.local.server import USUAL_PORT, EmbeddedServer, ask


@pytest.fixture
def stranger() -> Iterator[ProcessId]:
    """A process that is none of ours."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as popen:
        identity = ProcessId.of(popen.pid)
        assert identity
        yield identity
        popen.kill()


def run(server: EmbeddedServer, *command: str) -> object:
    with redis.Redis.from_url(server.url) as client:
        return client.execute_command(*command)


def kill(server: EmbeddedServer, eventually: Eventually) -> ProcessId:
    identity = server.identity
    assert identity
    os.kill(identity.pid, signal.SIGKILL)
    eventually(lambda: not identity.is_alive)
    return identity


def test_it_answers_on_loopback_only_with_safe_settings(server: EmbeddedServer) -> None:
    # Given the server that tests share, I expect the settings that keep data
    expected = {
        "bind": "127.0.0.1",
        "protected-mode": "yes",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
    }
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        assert {name: client.config_get(name)[name] for name in expected} == expected


def test_starting_it_again_finds_the_running_one(start_server: StartServer, tmp_path: Path) -> None:
    first = start_server(tmp_path)
    second = start_server(tmp_path)
    assert second.was_running
    assert (second.identity, second.url) == (first.identity, first.url)


def test_data_is_there_after_a_stop(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(tmp_path)
    run(server, "SET", "kept", "yes")
    server.stop()
    assert not server.is_running
    assert run(start_server(tmp_path), "GET", "kept") == b"yes"


def test_data_is_there_after_a_kill(start_server: StartServer, tmp_path: Path, eventually: Eventually) -> None:
    # Given a server that is killed, which leaves its pidfile and record behind
    server = start_server(tmp_path)
    run(server, "SET", "kept", "yes")
    killed = kill(server, eventually)
    assert (tmp_path / "valkey.pid").exists()
    # If it is started again, I expect a new process with the old data
    again = start_server(tmp_path)
    assert again.identity != killed
    assert run(again, "GET", "kept") == b"yes"


def test_it_is_ready_only_when_it_has_read_all_its_data(
    start_server: StartServer, tmp_path: Path, eventually: Eventually
) -> None:
    # Given enough data for the server to be reading for a while after it answers
    server = start_server(tmp_path)
    for part in range(10):
        loop = f"for i = 1, 100000 do redis.call('SET', 'k{part}:' .. i, i) end"
        run(server, "EVAL", loop, 0)
    kill(server, eventually)
    # If it is started again, I expect all of it at the first question, and not "LOADING"
    assert run(start_server(tmp_path), "DBSIZE") == 1_000_000
    server.stop()


def test_a_recycled_pid_is_not_mistaken_for_the_server(
    start_server: StartServer, tmp_path: Path, stranger: ProcessId
) -> None:
    # Given a record whose pid belongs to somebody else by now
    server = start_server(tmp_path)
    server.stop()
    (tmp_path / "server.json").write_text(f'{{"pid": {stranger.pid}, "started": "then", "port": 1}}')
    (tmp_path / "valkey.pid").write_text(f"{stranger.pid}\n")
    # If it is started and stopped, I expect a server of our own and the stranger untouched
    again = start_server(tmp_path)
    assert not again.was_running
    assert again.identity
    assert again.identity.pid != stranger.pid
    again.stop()
    assert stranger.is_alive


@pytest.mark.parametrize("damaged", ['{"pid": 12', "", "[]", '{"pid": "x", "started": 3}', "\x00\x00"])
def test_a_damaged_record_blocks_nothing(start_server: StartServer, tmp_path: Path, damaged: str) -> None:
    # Given a running server whose record is damaged
    first = start_server(tmp_path)
    before = first.identity
    run(first, "SET", "kept", "yes")
    (tmp_path / "server.json").write_text(damaged)
    # If it is started again, I expect one server on the data, not two
    again = start_server(tmp_path)
    assert run(again, "GET", "kept") == b"yes"
    assert before
    assert not before.is_alive


def test_two_servers_never_share_a_folder(start_server: StartServer, tmp_path: Path) -> None:
    # Given a server whose record and mark are both out of our sight
    server = start_server(tmp_path)
    other = EmbeddedServer(tmp_path, 0)
    record = tmp_path / "server.json"
    text = record.read_text()
    record.unlink()
    other._end_leftovers = lambda: None  # type: ignore[method-assign]
    # If another is started there, I expect it to be refused
    with pytest.raises(Conflict, match="another server uses"):
        other.start()
    record.write_text(text)
    assert ask(server.port)


def test_a_port_that_was_asked_for_and_is_taken_is_refused(
    start_server: StartServer, tmp_path: Path, server: EmbeddedServer
) -> None:
    with pytest.raises(Conflict, match=f"port {server.port} is in use"):
        start_server(tmp_path, server.port)


def test_another_port_is_chosen_when_the_usual_one_is_taken(start_server: StartServer, tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # Somebody else holds it: as good.
            holder.bind(("127.0.0.1", USUAL_PORT))
            holder.listen()
        server = start_server(tmp_path, None)
        assert server.port != USUAL_PORT
        assert ask(server.port)
        server.stop()


def test_a_port_that_is_taken_in_between_costs_another_try(
    start_server: StartServer, tmp_path: Path, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a port that looked free and is another server's by the time ours wants it
    choices = iter([server.port, 0])
    late = EmbeddedServer(tmp_path, 0, binary=server._binary, dies_with_parent=True)
    choose = late._choose_port
    monkeypatch.setattr(late, "_choose_port", lambda: next(choices) or choose())
    # If ours is started, I expect it on another port and not to believe the stranger's answer
    with late.start():
        assert late.port != server.port
        assert late.identity != server.identity


def test_a_server_without_its_record_still_ends(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(tmp_path)
    identity = server.identity
    (tmp_path / "server.json").unlink()
    server.stop()
    assert identity
    assert not identity.is_alive


def test_stopping_twice_is_harmless(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(tmp_path)
    server.stop()
    server.stop()
    assert not server.is_running


def test_a_server_that_cannot_start_says_why(start_server: StartServer, tmp_path: Path) -> None:
    # Given data that is not the server's
    server = start_server(tmp_path)
    run(server, "SET", "kept", "yes")
    server.stop()
    for manifest in (tmp_path / "appendonlydir").glob("*.manifest"):
        manifest.write_text("not a manifest")
    # If it is started, I expect the server's own words and where to read more
    with pytest.raises(Unavailable, match=r"did not start: .*see .*valkey\.log"):
        start_server(tmp_path)


def test_a_folder_may_have_any_name(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(tmp_path / 'a "name" with # blänks')
    assert run(server, "PING")
    server.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can end a child with its parent")
def test_it_ends_with_its_parent_when_asked_to(server_binary: Path, tmp_path: Path, eventually: Eventually) -> None:
    # Given a server that was started by a process which is killed
    program = (
        "import sys, pathlib; from workers.local.server import EmbeddedServer;"
        "binary, folder = map(pathlib.Path, sys.argv[1:]);"
        "EmbeddedServer(folder, 0, binary=binary, dies_with_parent=True).start();"
        "print('up', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(server_binary), str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == b"up\n"
        server = EmbeddedServer(tmp_path)
        assert server.is_running
        parent.kill()
    # I expect it to be gone too
    eventually(lambda: not server.is_running)
