"""Streams of what happens: every listener hears everything, goes on where it was, or is told to read again."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from executions import Client, connect
from executions.server.live.hub import MOST, WAITING, Listener
from tests.conftest import Eventually, StartServer
from tests.kills import storm
from tests.web import Web, served


@pytest.fixture
def client(server_url: str, namespace: str) -> Iterator[Client]:
    with connect(server_url, namespace=namespace) as made:
        yield made


@pytest.fixture
def web(server_url: str, namespace: str, tmp_path: Path) -> Iterator[Web]:
    with served(server_url, namespace, folder=tmp_path) as started:
        yield started


class Heard(list[dict[str, Any]]):
    """The frames that came, as dicts of their fields."""

    @property
    def ids(self) -> list[str]:
        """The executions that they are about."""
        return [json.loads(one["data"])["id"] for one in self if one["event"].startswith("execution.")]


@contextmanager
def listening(url: str, path: str = "/stream", **headers: str) -> Iterator[Heard]:
    """Read a stream in a thread of its own."""
    heard, ready = Heard(), threading.Event()

    def read() -> None:
        try:
            with httpx.stream("GET", f"{url}/api/v1{path}", headers=headers, timeout=20) as answer:
                frame: dict[str, Any] = {}
                for line in answer.iter_lines():
                    name, _, value = line.partition(": ")
                    if line and name:
                        frame[name] = value
                    elif "event" in frame:
                        heard.append(frame)
                        frame = {}
                        ready.set()
        except httpx.TransportError:
            pass  # the server was killed
        finally:
            ready.set()

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    assert ready.wait(20)
    yield heard


def test_every_listener_hears_what_happens(client: Client, web: Web, eventually: Eventually) -> None:
    with listening(web.url) as one, listening(web.url) as other:
        made = client.submit("shop.add", 1, 2)
        made.terminate()
        eventually(lambda: one.ids == other.ids == [made.id, made.id])
    assert [frame["event"] for frame in one] == ["hello", "execution.created", "execution.finished"]
    assert json.loads(one[1]["data"])["function"] == "shop.add"


def test_a_stream_goes_on_where_it_was_through_a_kill(
    client: Client, server_url: str, namespace: str, tmp_path: Path, eventually: Eventually
) -> None:
    # Given a listener, and more than it has heard when its server is killed
    seen: list[str] = []
    last, made = "", []
    for _ in range(3):
        with (
            served(server_url, namespace, folder=tmp_path) as web,
            listening(web.url, **({"Last-Event-ID": last} if last else {})) as heard,
        ):
            made += [client.submit("shop.add", 1, 2).id for _ in range(3)]
            eventually(lambda heard=heard, due=set(made) - set(seen): due <= set(heard.ids))
            web.process.kill()
            seen += heard.ids
            last = heard[-1]["id"]
        made += [client.submit("shop.add", 1, 2).id for _ in range(3)]
    with served(server_url, namespace, folder=tmp_path) as web, listening(web.url, **{"Last-Event-ID": last}) as heard:
        # I expect the next one to give it what came meanwhile
        eventually(lambda: set(made) <= {*seen, *heard.ids})
        assert not [frame for frame in heard if frame["event"] == "resync"]


def test_one_who_missed_too_much_is_told_to_read_again(client: Client, web: Web, eventually: Eventually) -> None:
    with listening(web.url) as before:
        cursor = before[0]["id"]
    client.map("shop.add", [(n, n) for n in range(MOST + 1)])
    for since in (cursor, "1-1", "nonsense"):
        with listening(web.url, **{"Last-Event-ID": since}) as heard:
            eventually(lambda heard=heard: [frame["event"] for frame in heard][:2] == ["hello", "resync"])


def test_the_stream_of_one_ends_with_it(client: Client, web: Web, eventually: Eventually) -> None:
    other, made = client.submit("shop.add", 1, 2), client.submit("shop.add", 3, 4)
    with listening(web.url, f"/executions/{made.id}/stream") as heard:
        other.terminate()
        made.terminate()
        eventually(lambda: heard[-1]["event"] == "bye")
        assert set(heard.ids) <= {made.id}
    assert httpx.get(f"{web.url}/api/v1/executions/unknown/stream").status_code == 404


async def fill(listener: Listener) -> bytes:
    for number in range(WAITING + 2):
        listener.offer(b"event: x\n\n", f"{number}-0")
    return await listener.next()


def test_a_listener_that_lags_is_told_so_and_holds_no_more_than_it_may() -> None:
    said = asyncio.run(fill(Listener(None)))
    assert b"event: resync" in said
    assert said.count(b"event: x") == 1


def test_the_greeting_does_not_move_one_who_comes_back_past_what_it_missed(client: Client, web: Web) -> None:
    with listening(web.url) as before:
        cursor = before[0]["id"]
    client.submit("shop.add", 1, 2)
    # A stream that is cut right after its greeting has told nothing else
    with listening(web.url, **{"Last-Event-ID": cursor}) as heard:
        assert "id" not in heard[0]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_kills_under_load_leave_no_gap_in_any_history_nor_live_log(start_server: StartServer, tmp_path: Path) -> None:
    assert storm(start_server().url, tmp_path, kills=3, seed=3) == []
