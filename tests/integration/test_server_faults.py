"""A server that is away, silent, full or no primary: a clear word in time, and nothing half done."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

import executions
from executions import Client, Unavailable
from executions.clock import SYSTEM_CLOCK
from executions.registry.connection import translate
from tests.conftest import StartServer
from workers.local.server import HOST, EmbeddedServer


@pytest.fixture
def own_server(start_server: StartServer, tmp_path: Path) -> EmbeddedServer:
    """A server that the test may ruin."""
    return start_server(folder=tmp_path / "server")


@pytest.fixture
def client(own_server: EmbeddedServer, namespace: str) -> Iterator[Client]:
    """A client that waits a second at most."""
    made = executions.connect(own_server.url, namespace=namespace, patience_s=1.0)
    assert made.executions.count() == 0
    yield made
    made.close()


def admin(server: EmbeddedServer) -> redis.Redis:
    return redis.Redis(host=HOST, port=server.port)


def test_a_call_waits_for_a_server_that_comes_back(
    own_server: EmbeddedServer, start_server: StartServer, namespace: str
) -> None:
    """Given a server that restarts. If something is submitted meanwhile I expect it to be accepted, once."""
    client = executions.connect(own_server.url, namespace=namespace, patience_s=20.0)
    client.submit("shop.add", 1, 2)
    own_server.stop()
    with ThreadPoolExecutor() as elsewhere:
        submitted = elsewhere.submit(client.submit, "shop.add", 3, 4)
        # The server dies with the thread that starts it, so that is this one.
        start_server(folder=own_server.folder, port=own_server.port)
        assert submitted.result(timeout=30).status == "pending"
    assert client.executions.count() == 2
    client.close()


def test_a_server_that_stays_away_is_said_in_time(own_server: EmbeddedServer, client: Client) -> None:
    own_server.stop()
    before = SYSTEM_CLOCK.monotonic()
    with pytest.raises(Unavailable, match="cannot be reached"):
        client.submit("shop.add", 1, 2)
    assert 0.8 < SYSTEM_CLOCK.monotonic() - before < 4.0


def test_a_server_that_says_nothing_is_said_in_time(namespace: str) -> None:
    with socket.create_server((HOST, 0)) as silent:
        client = executions.connect(f"redis://{HOST}:{silent.getsockname()[1]}/0", namespace=namespace, patience_s=1.0)
        before = SYSTEM_CLOCK.monotonic()
        with pytest.raises(Unavailable, match="did not answer in time"):
            client.executions.count()
        assert SYSTEM_CLOCK.monotonic() - before < 5.0
        client.close()


def test_a_full_server_takes_nothing_and_says_why(own_server: EmbeddedServer, client: Client) -> None:
    admin(own_server).config_set("maxmemory", 1)
    with pytest.raises(Unavailable, match="out of memory"):
        client.submit("shop.add", 1, 2)
    admin(own_server).config_set("maxmemory", 0)
    assert client.executions.count() == 0, "nothing was half written"
    assert admin(own_server).keys(f"{client.settings.namespace}:*:outbox") == []
    client.submit("shop.add", 1, 2)


def test_a_replica_is_no_place_to_write_and_says_so(
    own_server: EmbeddedServer, start_server: StartServer, client: Client
) -> None:
    other = start_server()
    admin(own_server).replicaof(HOST, str(other.port))  # type: ignore[no-untyped-call]
    with pytest.raises(Unavailable, match="is a replica"):
        client.submit("shop.add", 1, 2)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("MISCONF Errors writing to the AOF file: No space left on device", "cannot write to its disk"),
        ("LOADING Redis is loading the dataset in memory", "still reading its data"),
        ("CLUSTERDOWN Hash slot not served", "a cluster that is down"),
        ("BUSY Redis is busy running a script", "busy with a script"),
        ("ERR user_script:12: OOM command not allowed when used memory > 'maxmemory'.", "out of memory"),
    ],
)
def test_what_a_server_refuses_is_said_in_words(said: str, meant: str) -> None:
    error = translate(redis.ResponseError(said))
    assert isinstance(error, Unavailable)
    assert meant in str(error)
    assert said in str(error)
