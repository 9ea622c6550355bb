"""A row and its message are written in one step and one round trip, where the registry's server is the broker too.

And what a worker's consumer tells the broker without waiting for the answer.
"""

from __future__ import annotations

import base64
import json
import statistics
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

import executions
from executions import Client, Unavailable
from executions.clock import SYSTEM_CLOCK
from executions.registry.held import UNREAD_AT_MOST, Held, OneTry, connection_like
from executions.upkeep.publisher import Publisher
from tests.chaos.proxy import HOST, Proxy
from tests.conftest import StartServer
from workers.local.server import EmbeddedServer


@pytest.fixture
def own_server(start_server: StartServer, tmp_path: Path) -> EmbeddedServer:
    """A server that nobody else asks anything, so that what it is asked can be counted."""
    return start_server(folder=tmp_path / "server")


@pytest.fixture
def admin(own_server: EmbeddedServer) -> redis.Redis:
    return redis.Redis(host=HOST, port=own_server.port)


@pytest.fixture
def client(own_server: EmbeddedServer) -> Iterator[Client]:
    with executions.connect(own_server.url, patience_s=2.0) as made:
        yield made


def plus(x: int, y: int) -> int:
    return x + y


@pytest.fixture
def add() -> Any:
    """A function whose code is here: nobody looks it up in the catalogue."""
    return Celery("elsewhere", set_as_current=False).task(name="shop.add")(plus)


def messages(admin: redis.Redis, queue: str = "celery") -> list[str]:
    """Give the ids of the messages in a queue, the one that is taken next first."""
    found: Any = admin.lrange(queue, 0, -1)
    return [json.loads(text)["headers"]["id"] for text in reversed(found)]


def grown(admin: redis.Redis, figure: str, act: Callable[[], object]) -> int:
    """Tell by how much a figure of the server grows each time that something is done, but for the odd time.

    The first time, connections are made, scripts are learned, and a thread tells which code this process runs.
    """
    act()
    return int(statistics.median(_grown(admin, figure, act) for _ in range(5)))


def _grown(admin: redis.Redis, figure: str, act: Callable[[], object]) -> int:
    seen = [int(admin.info()[figure]) for _ in range(2)]
    act()
    seen.append(int(admin.info()[figure]))
    # Without what asking for it adds.
    return (seen[2] - seen[1]) - (seen[1] - seen[0])


def requests(admin: redis.Redis, act: Callable[[], object]) -> int:
    """Count the requests that the server reads."""
    return grown(admin, "total_reads_processed", act)


def test_a_submit_without_an_app_is_one_request(admin: redis.Redis, client: Client, add: Any) -> None:
    assert requests(admin, lambda: client.submit(add, 1, 2)) == 1
    assert requests(admin, lambda: client.submit(add, 1, 2, queue="vip", priority=9, tags=["a"])) == 1
    assert messages(admin) == [one.id for one in client.executions.list("queue:celery", sort="created")]
    assert messages(admin, "vip\x06\x169") == [one.id for one in client.executions.list("queue:vip", sort="created")]


def test_a_batch_is_one_request_too(admin: redis.Redis, client: Client, add: Any) -> None:
    assert requests(admin, lambda: client.map(add, [(1, 2), (3, 4)])) == 1
    assert messages(admin) == [one.id for one in client.executions.list(sort="created")]
    assert len(messages(admin)) == 12


def test_a_delay_and_a_submit_of_an_installed_app_are_one_request(
    admin: redis.Redis, own_server: EmbeddedServer
) -> None:
    app = Celery("shop", broker=own_server.url, set_as_current=False)
    client, add = executions.install(app), app.task(name="shop.add")(plus)
    assert requests(admin, lambda: add.delay(1, 2)) == 1
    assert requests(admin, lambda: client.submit(add, 1, 2, queue="celery", tags=["a"])) == 1
    assert messages(admin) == [one.id for one in client.executions.list(sort="created")]


def test_a_prefix_that_an_app_has_for_its_broker_is_not_put_before_the_registrys_keys(
    admin: redis.Redis, own_server: EmbeddedServer
) -> None:
    app = Celery("shop", broker=own_server.url, set_as_current=False)
    app.conf.broker_transport_options = {"global_keyprefix": "app:"}
    client, add = executions.install(app), app.task(name="shop.add")(plus)
    sent = [add.delay(1, 2).id for _ in range(2)] + [client.submit(add, 1, 2).id]
    assert messages(admin, "app:celery") == sent
    assert [client.executions.get(one).status for one in sent] == ["pending"] * 3


def test_only_what_is_new_and_due_has_its_message_sent(admin: redis.Redis, client: Client, add: Any) -> None:
    first = client.submit(add, 1, 2, name="once")
    assert client.submit(add, 1, 2, name="once").id == first.id
    assert client.submit(add, 1, 2, countdown=60).reason == "scheduled"
    assert messages(admin) == [first.id]


def without_app(url: str) -> Client:
    return executions.connect(url, patience_s=2.0)


def of_an_app(url: str) -> Client:
    return executions.install(Celery("shop", broker=url, set_as_current=False))


@pytest.mark.parametrize("make", [without_app, of_an_app])
def test_a_reply_that_is_lost_makes_no_second_execution_and_no_second_message(
    admin: redis.Redis, own_server: EmbeddedServer, add: Any, make: Callable[[str], Client]
) -> None:
    """If the connection breaks within the reply, and the driver asks again, I expect what one request leaves."""
    proxy = Proxy(own_server.port)
    with make(f"redis://{HOST}:{proxy.port}/0") as client:
        submit = partial(client.submit, add, 1, 2)
        size = grown(admin, "total_net_input_bytes", submit)
        before = int(admin.info()["total_connections_received"])
        proxy.cut(after_bytes=size + 10)
        submit()
        assert int(admin.info()["total_connections_received"]) > before, "nothing was cut"
        assert len(client.executions.list()) == len(messages(admin)) == 7
    proxy.close()


@pytest.mark.parametrize("make", [without_app, of_an_app])
def test_a_message_that_the_server_did_not_take_is_sent_later(
    admin: redis.Redis, own_server: EmbeddedServer, add: Any, make: Callable[[str], Client]
) -> None:
    """If the queue's list is none, so that the push fails, I expect a clear word, the row, and no message for ever."""
    with make(own_server.url) as client:
        client.submit(add, 1, 2)  # by which an app has its queue declared, so that the next push is all it asks for
        admin.set("celery", "not a list")
        with pytest.raises(Unavailable, match="WRONGTYPE"):
            client.submit(add, 3, 4, tags=["left"])
        (left,) = client.executions.list("tag:left")
        admin.delete("celery")
        assert Publisher(client._parts, after_s=0).run_once(SYSTEM_CLOCK.now()).done == 2
        assert messages(admin)[-1] == left.id


def test_what_celery_shows_of_a_call_has_no_secrets(admin: redis.Redis, client: Client) -> None:
    """If a secret is among the arguments, I expect it in what the function gets only, also when it is sent again."""
    sent = client.submit("shop.login", "ann", password="hush")
    client._parts.dispatcher.republish(client._parts.space, sent.id)
    for text in admin.lrange("celery", 0, -1):
        message = json.loads(text)
        assert message["headers"]["argsrepr"] == "('ann',)"
        assert message["headers"]["kwargsrepr"] == "{'password': '[redacted]'}"
        assert json.loads(base64.b64decode(message["body"]))[1] == {"password": "hush"}
    assert len(messages(admin)) == 2


def test_threads_send_each_their_own(admin: redis.Redis, client: Client, add: Any) -> None:
    with ThreadPoolExecutor(8) as pool:
        sent = [one.id for one in pool.map(lambda n: client.submit(add, n, n), range(200))]
    assert sorted(messages(admin)) == sorted(sent)
    assert client.executions.count() == 200


def test_a_command_that_is_only_sent_is_carried_out_in_its_order(admin: redis.Redis) -> None:
    """Given messages that are let go of. I expect each gone before the next command, and no reply taken for another."""
    wire = OneTry(connection_like(admin.connection_pool))
    held = Held(wire, "ex")
    texts = [f"message {number}".encode() for number in range(3 * UNREAD_AT_MOST)]
    admin.lpush("source", *texts)
    while taken := held.fetch("me", ["source"], 32, 1):
        for _, text in taken:
            wire.send(*held.forgetting("me", "source", text))
    assert held.give_back("me", "source") == 0
    wire.settle()
    assert admin.exists("source") == 0
    wire.close()


def test_a_refusal_of_what_was_only_sent_ends_the_connection(admin: redis.Redis) -> None:
    """If the answer that nobody waited for is a refusal, I expect the next look to raise it, and no further command."""
    wire = OneTry(connection_like(admin.connection_pool))
    admin.set("no list", "")
    wire.send("LREM", "no list", -1, "x")
    with pytest.raises(redis.ConnectionError, match="WRONGTYPE"):
        wire.do("PING")
    with pytest.raises(redis.ConnectionError, match="has ended"):
        wire.send("PING")


def test_a_consumer_of_nothing_fetches_nothing(admin: redis.Redis) -> None:
    """If there is no source left to fetch from, I expect an answer: a script without an end stops the whole server."""
    wire = OneTry(connection_like(admin.connection_pool))
    assert Held(wire, "ex").fetch("me", [], 5, 0) == []
    wire.close()
