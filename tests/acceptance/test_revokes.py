"""Every way to revoke, from any client, is a stop that is on record and holds."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import TaskRevokedError

from tests.acceptance.fleet import Fleet, eventually, lines, words


def test_a_revoke_while_no_worker_is_up_holds(fleet: Fleet) -> None:
    path = fleet.path()
    result, other = fleet.shop.mark.delay(path), fleet.shop.mark.delay(path + ".other")
    fleet.shop.app.control.revoke(result.id)
    done = fleet.client.executions.get(result.id)
    assert (done.status, done.reason) == ("terminated", "cancelled")
    assert done.stop_request.cause == "revoked through Celery"

    worker = fleet.start("prefork", 1)
    assert fleet.done(other).status == "success"
    worker.stop()
    assert lines(path) == 0
    assert result.state == "REVOKED"
    with pytest.raises(TaskRevokedError):
        result.get(timeout=1)


def test_revoke_with_terminate_stops_what_runs(prefork: Fleet) -> None:
    result = prefork.shop.sleeping.delay()
    prefork.running(result)
    prefork.shop.app.control.revoke(result.id, terminate=True)
    done = prefork.done(result)
    assert (done.status, done.reason) == ("terminated", "requested")
    assert words(done)[2] == "running/terminating"
    assert done.stop_request.principal.endswith("(revoke)")
    assert result.state == "REVOKED"


def test_revoke_with_sigkill_is_hard(prefork: Fleet) -> None:
    result = prefork.shop.stubborn.delay()
    prefork.running(result)
    prefork.shop.app.control.revoke(result.id, terminate=True, signal="SIGKILL")
    done = prefork.done(result, timeout=5)
    assert done.status == "terminated"


def test_a_list_of_ids(prefork: Fleet) -> None:
    results = [prefork.shop.add.apply_async((i, 1), countdown=60) for i in range(3)]
    prefork.shop.app.control.revoke([result.id for result in results])
    assert {prefork.done(result).status for result in results} == {"terminated"}


def test_async_result_revoke(prefork: Fleet) -> None:
    result = prefork.shop.checking.delay(60)
    prefork.running(result)
    result.revoke(terminate=True)
    assert prefork.done(result).status == "terminated"


def test_the_shell_command(prefork: Fleet) -> None:
    result = prefork.shop.add.apply_async((1, 1), countdown=60)
    printed = prefork.celery("control", "revoke", result.id)
    assert prefork.done(result).status == "terminated"
    assert "OK" in printed
    running = prefork.shop.checking.delay(60)
    prefork.running(running)
    prefork.celery("control", "terminate", "SIGTERM", running.id)
    done = prefork.done(running)
    assert (done.status, done.reason) == ("terminated", "requested")
    assert done.stop_request.cause == "revoked through Celery"


def test_a_plain_client_that_never_heard_of_us(prefork: Fleet) -> None:
    result = prefork.shop.checking.delay(60)
    prefork.running(result)
    app = Celery("plain", broker=prefork.url, set_as_current=False)
    app.control.revoke(result.id, terminate=True)
    done = prefork.done(result)
    assert (done.status, done.reason) == ("terminated", "requested")
    app.close()


def test_an_unknown_id_is_celerys_own_affair(prefork: Fleet) -> None:
    prefork.shop.app.control.revoke("never-heard-of")
    assert prefork.find("never-heard-of") is None
    eventually(lambda: "never-heard-of" in prefork.workers[-1].log, "revoked by the worker")


def test_what_has_ended_stays_as_it_is(prefork: Fleet) -> None:
    result = prefork.shop.add.delay(1, 1)
    assert result.get(timeout=20) == 2
    prefork.shop.app.control.revoke(result.id, terminate=True)
    assert prefork.client.executions.get(result.id).status == "success"
    assert result.state == "SUCCESS"


def test_revoke_by_stamps_is_stock(prefork: Fleet) -> None:
    signature = prefork.shop.sleeping.s()
    signature.stamp(shelf="top")
    result = signature.apply_async()
    prefork.running(result)
    prefork.shop.app.control.revoke_by_stamped_headers({"shelf": "top"}, terminate=True)
    done = prefork.done(result)
    assert done.status == "terminated"
    assert result.state == "REVOKED"


class Flower:
    """A real Flower and its HTTP interface."""

    def __init__(self, fleet: Fleet) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = fleet.run_celery(
            "flower", "-A", "shop", "flower", "--address=127.0.0.1", f"--port={self.port}",
            FLOWER_UNAUTHENTICATED_API="true",
        )  # fmt: skip
        eventually(lambda: self.ask("/api/workers") is not None, "Flower")

    def ask(self, path: str, data: bytes | None = None) -> Any:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", data=data, timeout=5) as answer:
                return json.loads(answer.read())
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return None


@pytest.fixture(scope="module")
def flower(prefork: Fleet) -> Iterator[Flower]:
    started = Flower(prefork)

    def hears() -> bool:
        one = prefork.shop.add.delay(0, 0)
        prefork.done(one)
        return bool(started.ask(f"/api/task/info/{one.id}"))

    eventually(hears, "Flower hears the events")
    yield started
    started.process.stop()


def test_flower_shows_the_same_states(prefork: Fleet, flower: Flower) -> None:
    good, bad = prefork.shop.add.delay(1, 2), prefork.shop.fail.delay("flower")
    prefork.done(good)
    prefork.done(bad)
    eventually(lambda: (flower.ask(f"/api/task/info/{good.id}") or {}).get("state") == "SUCCESS", "success")
    eventually(lambda: (flower.ask(f"/api/task/info/{bad.id}") or {}).get("state") == "FAILURE", "failure")
    assert flower.ask(f"/api/task/result/{good.id}") == {"task-id": good.id, "state": "SUCCESS", "result": 3}


def test_flowers_terminate_acts_as_ours(prefork: Fleet, flower: Flower) -> None:
    result = prefork.shop.sleeping.delay()
    prefork.running(result)
    eventually(lambda: flower.ask(f"/api/task/revoke/{result.id}?terminate=true", data=b""), "asked")
    done = prefork.done(result)
    assert (done.status, done.reason) == ("terminated", "requested")
    assert done.stop_request.principal
    eventually(lambda: (flower.ask(f"/api/task/info/{result.id}") or {}).get("state") == "REVOKED", "revoked")


def test_flowers_revoke_acts_as_ours(prefork: Fleet, flower: Flower) -> None:
    result = prefork.shop.add.apply_async((1, 1), countdown=60)
    assert flower.ask(f"/api/task/revoke/{result.id}", data=b"")
    done = prefork.done(result)
    assert (done.status, done.reason) == ("terminated", "cancelled")
