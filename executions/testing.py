"""Fixtures for the tests of those who use the library: a server, a client, real workers.

pytest loads this by itself wherever the library is installed. Nothing is started before a test asks for it.
All three live as long as the test run, as a database would: tests tell their executions apart by id, name or tag.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Protocol

import pytest

from executions.client import Client
from executions.connect import connect
from executions.errors import Unavailable

#: The fleet's parts, by name: the library never imports the fleet.
_SERVER = "workers.local.server:EmbeddedServer"
_START = "workers.local.processes:start"
_STOP = "workers.local.processes:stop"
_WAIT = "workers.local.waiting:wait_until"

#: Seconds that a worker has to take up its work, and to end.
READY_S = 30.0
GRACE_S = 10.0


class StartWorker(Protocol):
    """Starts a worker for an app, once; asked for again, the one that runs is meant."""

    def __call__(self, app: str, pool: str = "threads", concurrency: int = 2) -> Client: ...


@pytest.fixture(scope="session")
def executions_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server of the test run's own; needs `pip install 'executions[embedded]'`, else tests are skipped.

    `EXECUTIONS_URL` and `CELERY_BROKER_URL` name it while the tests run, so that apps and clients find it.
    """
    folder = tmp_path_factory.mktemp("executions")
    server: Any = resolve_name(_SERVER)(folder / "valkey", 0, dies_with_parent=True)
    try:
        server.start()
    except Unavailable as error:
        pytest.skip(str(error))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXECUTIONS_URL", server.url)
        patch.setenv("CELERY_BROKER_URL", server.url)
        patch.setenv("EXECUTIONS_PAYLOADS", str(folder / "payloads"))
        yield server.url
    server.stop()


@pytest.fixture(scope="session")
def executions_client(executions_server: str) -> Iterator[Client]:
    """A client for the server; it knows functions by their names and needs no code of theirs."""
    with connect(executions_server) as client:
        yield client


@pytest.fixture(scope="session")
def executions_worker(
    executions_client: Client, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[StartWorker]:
    """What starts a real `celery worker` for an app, named as `celery -A` takes it: `executions_worker("tasks")`.

    It returns once the worker is ready, and gives the client.
    """
    folder, running = tmp_path_factory.mktemp("workers"), _Workers(executions_client)

    def start(app: str, pool: str = "threads", concurrency: int = 2) -> Client:
        running.ensure((app, pool, concurrency), folder, pytestconfig.rootpath)
        return executions_client

    yield start
    running.stop()


class _Workers:
    """The workers of a test run."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._started: dict[tuple[str, str, int], Any] = {}

    def ensure(self, wanted: tuple[str, str, int], folder: Path, root: Path) -> None:
        if wanted in self._started:
            return
        app, pool, concurrency = wanted
        name = f"tests{len(self._started) + 1}@localhost"
        log = folder / f"{len(self._started) + 1}.log"
        command = [sys.executable, "-m", "celery", "-A", app, "worker", "-E", "-n", name, "--loglevel", "INFO"]
        command += ["--pool", pool, "--concurrency", str(concurrency)]
        paths = {"PYTHONPATH": os.pathsep.join([str(root), *filter(None, sys.path)])}
        start: Callable[..., Any] = resolve_name(_START)
        child = start(command, log=log, mark=f"{folder}:", env=paths, cwd=root, dies_with_parent=True)
        self._started[wanted] = child.identity
        resolve_name(_WAIT)(lambda: child.exit_code is not None or self._is_ready(name, log), READY_S)
        if not self._is_ready(name, log):
            del self._started[wanted]
            resolve_name(_STOP)([child.identity], 0)
            pytest.fail(f"the worker for {app!r} did not start; it wrote:\n{log.read_text(errors='replace')[-4000:]}")

    def _is_ready(self, name: str, log: Path) -> bool:
        beats = any(worker.alive and worker.name == name for worker in self._client.workers.list())
        return beats and f"{name} ready" in log.read_text(errors="replace")

    def stop(self) -> None:
        resolve_name(_STOP)(list(self._started.values()), GRACE_S)
