"""A chord whose registry goes away while its members end."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest
from celery import Celery, chord
from celery.app.task import Context

import executions
from tests.conftest import Eventually, StartServer
from workers.local.server import free_port


def _add(x: int, y: int) -> int:
    return x + y


def test_the_last_member_of_a_chord_is_counted_once_the_registry_is_back(
    start_server: StartServer, tmp_path: Path, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a chord whose last member has ended
    server = start_server(tmp_path, free_port())
    app = Celery("chords", broker=server.url, set_as_current=False)
    client = executions.install(app)
    add = app.task(_add, name="add")
    result = chord([add.si(1, 1), add.si(2, 2)], add.si(3, 3)).apply_async()
    body = add.si(3, 3).set(task_id=result.id)
    first, last = (
        Context(id=one.id, group=result.parent.id, group_index=at, chord=body)
        for at, one in enumerate(result.parent.results)
    )
    app.backend.on_chord_part_return(first, "SUCCESS", 2)
    # If the registry is away just then
    server.stop()
    with caplog.at_level(logging.INFO):
        counting = threading.Thread(target=app.backend.on_chord_part_return, args=(last, "SUCCESS", 4), daemon=True)
        counting.start()
        eventually(lambda: "counting for a chord" in caplog.text)
    server.start()
    # I expect its body
    counting.join(30)
    assert client.executions.get(result.id).status == "pending"
    client.close()
    app.close()
