"""Real workers for the acceptance tests: started as users start them, told apart by name, ended by their pid."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from celery import _state
from redis import Redis
from redis.exceptions import RedisError

from executions import Client, Execution, NotFound

HERE = Path(__file__).parent
ROOT = HERE.parent.parent

#: Seconds that anything may take which is not itself about time.
PATIENCE_S = 30.0

#: Databases that no fleet uses: Celery's queues and control messages are for every worker of a database.
_databases = deque(range(1, 16))
#: Where Celery's default queue keeps what nobody has taken, by priority.
QUEUES = ("celery", *(f"celery\x06\x16{step}" for step in (3, 6, 9)))
_names = itertools.count(1)

_FINALIZERS = frozenset(_state._on_app_finalizers)

_ENVIRON = os.environ  # noqa: TID251


def eventually(condition: Callable[[], Any], what: str = "condition", timeout: float = PATIENCE_S) -> Any:
    """Wait until the condition holds and give its value; fail with its name after the time."""
    pause, deadline = threading.Event(), time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        pause.wait(0.02)


@dataclass
class Worker:
    """One `celery worker` process."""

    name: str
    process: subprocess.Popen[bytes]
    log_path: Path

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def wait_ready(self) -> Worker:
        eventually(lambda: " ready." in self.log or self.process.poll() is not None, f"{self.name} ready")
        assert self.process.poll() is None, self.log
        return self

    def stop(self, how: int = signal.SIGTERM) -> None:
        """End the worker: in order, or by SIGQUIT, or as a crash."""
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(timeout=15)


@dataclass
class Fleet:
    """A registry, the shop's module bound to it, and the workers that a test starts."""

    url: str
    shop: ModuleType
    client: Client
    folder: Path
    environ: dict[str, str]
    workers: list[Worker] = field(default_factory=list)

    def start(
        self,
        pool: str = "prefork",
        concurrency: int = 2,
        *options: str,
        app: str = "shop",
        program: str = "celery",
        **env: str,
    ) -> Worker:
        """Start a worker and wait until it consumes."""
        name = f"w{next(_names)}-{pool}"
        return self.run_celery(
            name, "-A", app, "worker", "-P", pool, "-c", str(concurrency), "-n", f"{name}@test", "-E",
            "--loglevel", "INFO", *options, program=program, **env,
        ).wait_ready()  # fmt: skip

    def run_celery(self, name: str, *arguments: str, program: str = "celery", **env: str) -> Worker:
        """Start any `celery` command in the background."""
        log_path = self.folder / f"{name}.log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", program, *arguments],
                stdout=log, stderr=subprocess.STDOUT, env={**self.environ, **env}, cwd=self.folder,
            )  # fmt: skip
        worker = Worker(name, process, log_path)
        self.workers.append(worker)
        return worker

    def celery(self, *arguments: str) -> str:
        """Run a `celery` command to its end and give what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "celery", "-A", "shop", *arguments],
            capture_output=True, text=True, timeout=PATIENCE_S, env=self.environ, cwd=self.folder, check=False,
        )  # fmt: skip
        return done.stdout + done.stderr

    def path(self, name: str = "marks") -> str:
        """Give a fresh path that tasks leave marks in."""
        return str(self.folder / f"{name}-{next(_names)}")

    def done(self, execution_id: Any, timeout: float = PATIENCE_S) -> Execution:
        """Wait for the end of an execution, given by its id or by Celery's result."""
        one = getattr(execution_id, "id", execution_id)
        found = eventually(lambda: self.find(one), f"{one} on record", timeout)
        return found.wait(timeout=timeout)

    def find(self, execution_id: str) -> Execution | None:
        """Give an execution, or nothing while it is not on record."""
        try:
            return self.client.executions.get(execution_id)
        except NotFound:
            return None

    def running(self, execution_id: Any, timeout: float = PATIENCE_S) -> Execution:
        """Wait until an execution runs."""
        one = getattr(execution_id, "id", execution_id)

        def begun() -> Execution | None:
            found = self.find(one)
            return found if found and found.status != "pending" else None

        found: Execution = eventually(begun, f"{one} started", timeout)
        assert found.status == "running", found
        return found

    def stop_all(self) -> None:
        for worker in self.workers:
            worker.stop(signal.SIGQUIT if worker.process.poll() is None else signal.SIGKILL)


def words(execution: Execution) -> list[str]:
    """Give the status log as words: `running/started`."""
    return [f"{entry['status']}/{entry['reason']}".rstrip("/") for entry in execution.status_log]


def lines(path: str) -> int:
    """Count the marks that tasks left."""
    file = Path(path)
    return len(file.read_text().splitlines()) if file.exists() else 0


@contextmanager
def events(fleet: Fleet) -> Iterator[list[dict[str, Any]]]:
    """Hear Celery's events as Flower does."""
    seen: list[dict[str, Any]] = []
    with fleet.shop.app.connection_for_read() as connection:
        receiver = fleet.shop.app.events.Receiver(connection, handlers={"*": seen.append})

        def listen() -> None:
            with contextlib.suppress(TimeoutError, OSError):
                receiver.capture(limit=None, timeout=PATIENCE_S, wakeup=True)

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        eventually(lambda: seen, "the first event")
        yield seen
        receiver.should_stop = True
        thread.join(timeout=5)


def load_shop() -> ModuleType:
    """Import the shop anew, bound to what the environment names now."""
    spec = importlib.util.spec_from_file_location("shop", HERE / "shop.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Tasks of an app are announced to apps made later; those of an earlier shop would be there before ours.
    _state._on_app_finalizers = set(_FINALIZERS)
    sys.modules["shop"] = module
    with warnings.catch_warnings():
        # A shared task is made in every app of the process, in that of an earlier shop too.
        warnings.simplefilter("ignore")
        spec.loader.exec_module(module)
    # Shared tasks go to the app that is current, which another test's may still be.
    module.app.set_current()
    return module


def make_fleet(server_url: str, folder: Path, **env: str) -> Iterator[Fleet]:
    """Make a fleet over a registry of its own; end its workers with it."""
    database = _databases.popleft()
    url = f"{server_url.rsplit('/', 1)[0]}/{database}"
    ours = {
        "SHOP_BROKER": url,
        "SHOP_FOLDER": str(folder),
        "EXECUTIONS_NAMESPACE": f"t{next(_names)}",
        "EXECUTIONS_PAYLOADS": str(folder / "payloads"),
        "EXECUTIONS_RUN_DIR": str(folder / "run"),
        "PYTHONPATH": f"{ROOT}:{HERE}",
        "PYTHONUNBUFFERED": "1",
        **env,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ours.items():
            patch.setenv(name, value)
        shop = load_shop()
        made = Fleet(url, shop, shop.client, folder, dict(_ENVIRON))
        try:
            yield made
        finally:
            made.stop_all()
            made.client.close()
            # Results that are let go of later unsubscribe, from a server that is gone by then.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                gc.collect()
            shop.app.close()
            # What nobody has run is not for the workers of the next fleet here. The server may have gone before.
            with contextlib.suppress(RedisError), Redis.from_url(url, socket_timeout=PATIENCE_S) as client:
                client.delete(*QUEUES)
            _databases.append(database)
            # The next test's app may have this name too, and must not find our tasks announced to it.
            _state._on_app_finalizers = set(_FINALIZERS)
            if sys.modules.get("shop") is shop:
                del sys.modules["shop"]
