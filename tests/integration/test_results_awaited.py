"""Who waits for a result while the registry goes away and comes back."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import TimeoutError as WaitedTooLong

import executions
from executions.celery import endings
from executions.celery.site import Site, site_of
from executions.registry.transitions import Ended, Started
from tests.conftest import Eventually, StartServer
from workers.local.server import EmbeddedServer, free_port


def plus(x: int, y: int) -> int:
    return x + y


@pytest.fixture
def server(start_server: StartServer, tmp_path: Path) -> EmbeddedServer:
    """A server of one's own, which can be stopped; it knows afterwards what it knew."""
    return start_server(tmp_path / "server", free_port())


@pytest.fixture
def app(server: EmbeddedServer) -> Iterator[Celery]:
    made = Celery("waiting", broker=server.url, set_as_current=False)
    # What Celery does about a lost server, and how soon it gives up.
    made.conf.result_backend_transport_options = {"retry_policy": {"max_retries": 1, "interval_start": 0.01}}
    client = executions.install(made)
    made.task(plus, name="plus")
    yield made
    client.close()
    made.close()


def end(app: Celery, execution_id: str, output: int) -> None:
    """Do what a worker does."""
    site = site_of(app)
    assert isinstance(site, Site)
    started = site.transitions.start(execution_id, 1, worker="w@test", pid=1, pool="threads", claim="w.1")
    assert isinstance(started, Started)
    assert isinstance(site.transitions.finish(execution_id, 1, endings.success(site, str(output), "[]", [])), Ended)


def is_listening(app: Celery, result: Any) -> bool:
    consumer = app.backend.result_consumer
    return app.backend.get_key_for_task(result.id) in consumer.subscribed_to and consumer._pubsub is not None


def test_a_wait_outlasts_an_outage_of_the_registry(
    app: Celery, server: EmbeddedServer, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    # Given two who wait, and a server that goes away for longer than Celery tries
    before, after = (app.tasks["plus"].delay(1, 2) for _ in range(2))
    with ThreadPoolExecutor(2) as pool, caplog.at_level(logging.INFO):
        waiting = [pool.submit(one.get, timeout=60) for one in (before, after)]
        eventually(lambda: is_listening(app, before) and is_listening(app, after))
        server.stop()
        eventually(lambda: "waiting for results" in caplog.text)
        # If one ends before anybody listens again, and one later, I expect both to be heard of
        server.start()
        end(app, before.id, 3)
        assert waiting[0].result(30) == 3
        end(app, after.id, 4)
        assert waiting[1].result(30) == 4
    # And nothing is left of it: the next result is waited for as ever
    last = app.tasks["plus"].delay(1, 2)
    end(app, last.id, 5)
    assert last.get(timeout=30) == 5


def test_who_waits_no_longer_than_a_while_is_told_so(
    app: Celery, server: EmbeddedServer, eventually: Eventually
) -> None:
    result = app.tasks["plus"].delay(1, 2)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(result.get, timeout=3)
        eventually(lambda: is_listening(app, result))
        server.stop()
        with pytest.raises(WaitedTooLong):
            waiting.result(30)


def test_results_are_let_go_of_while_the_registry_is_away(app: Celery, server: EmbeddedServer) -> None:
    results = [app.tasks["plus"].delay(1, 2) for _ in range(3)]
    for one in results:
        app.backend.add_pending_result(one)
        assert is_listening(app, one)
    server.stop()
    # If the garbage is collected, which is when Celery calls this, I expect no exception
    for one in results:
        app.backend.remove_pending_result(one)
    assert not app.backend.result_consumer.subscribed_to
