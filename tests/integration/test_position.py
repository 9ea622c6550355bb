"""Where the message of an execution lies in its queue, as far as the broker can say it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from executions import Client, connect, dispatch
from executions.execution import Execution
from executions.registry import keys


@pytest.fixture
def client(server_url: str, namespace: str) -> Iterator[Client]:
    with connect(server_url, namespace=namespace) as made:
        yield made


def said(client: Client, execution: Execution) -> str:
    return str(client.queues.position(execution.refresh()) or "nothing")


@pytest.mark.feature("C36", "C86")
def test_those_that_are_taken_before_it_are_counted(client: Client, namespace: str) -> None:
    queue = f"q-{namespace}"
    made = client.map("shop.add", [(n, 1) for n in range(3)], queue=queue)
    assert said(client, made[0]) == f"it is taken next, from queue {queue}"
    assert said(client, made[2]) == f"2 of 3 are taken before it, from queue {queue}"
    made[0].terminate()
    assert said(client, made[0]) == "nothing"
    late = client.submit("shop.add", 1, 1, queue=queue, countdown=3600)
    assert said(client, late) == "nothing"


def test_others_may_overtake_what_has_another_priority(client: Client, namespace: str) -> None:
    queue = f"q-{namespace}"
    client.map("shop.add", [(n, 1) for n in range(2)], queue=queue)
    low = client.submit("shop.add", 1, 1, queue=queue, priority=9)
    assert said(client, low) == f"about 2 of 3 are taken before it, from queue {queue}"


def test_a_long_queue_is_not_read_to_its_end(client: Client, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = f"q-{namespace}"
    made = client.map("shop.add", [(n, 1) for n in range(9)], queue=queue)
    monkeypatch.setattr(dispatch, "PLACES_READ", 4)
    assert said(client, made[3]) == f"3 of 9 are taken before it, from queue {queue}"
    assert said(client, made[4]) == f"it lies beyond the first 4 of 9 messages in queue {queue}"


def test_what_a_worker_holds_has_no_place_in_a_queue_any_more(client: Client, server_url: str, namespace: str) -> None:
    queue = f"q-{namespace}"
    made = client.submit("shop.add", 1, 1, queue=queue)
    with redis.from_url(server_url) as server:
        server.rpoplpush(queue, keys.held(namespace, "w1", queue))
        server.zadd(keys.holders(namespace), {f"w1:{queue}": 1})
    assert said(client, made) == "a worker holds its message and starts it when a slot is free"


def test_a_broker_that_cannot_say_it_says_nothing(server_url: str, namespace: str) -> None:
    with connect(server_url, namespace=namespace, broker="memory://") as client:
        assert said(client, client.submit("shop.add", 1, 1)) == "nothing"
