"""Services as their users write them; workers import this module too."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

from celery import Celery

import executions
from executions import Progress, ServiceRunner

ENVIRON = os.environ  # noqa: TID251

#: Code that blocks is what these tests are about.
block = time.sleep  # noqa: TID251

FOLDER = Path(ENVIRON.get("SHOP_FOLDER", "."))

#: What the functions give, so that a test can deploy them anew with other code.
EDITION = ENVIRON.get("SHOP_EDITION", "one")

app = Celery("service_shop", broker=ENVIRON.get("SHOP_BROKER", "redis://127.0.0.1:6379/0"), set_as_current=False)
client = executions.install(app)
app.conf.update(broker_connection_retry_on_startup=True, worker_prefetch_multiplier=1)


def mark(name: str, text: Any = "") -> None:
    """Leave a line for the test; lines of several processes do not mix."""
    with (FOLDER / name).open("a") as file:
        file.write(f"{text}\n")


class Runner(ServiceRunner):
    """Loads its model once in each process."""

    def __init__(self) -> None:
        mark("made", os.getpid())
        self.model = object()

    def detect(self, item: Any, mark_in: str = "") -> Any:
        if mark_in:
            mark(mark_in, "detect")
        return item

    def train_model(self, item: Any, progress: Progress) -> Any:
        progress.update(progress=40, message="Epoch 40")
        return [type(progress).__name__, item]

    def where(self) -> list[Any]:
        return [os.getpid(), id(self.model)]

    def edition(self) -> str:
        return EDITION

    async def stream(self, item: Any) -> Any:
        await executions.acheckpoint()
        return [item]

    def steps(self, seconds: float, into: str) -> str:
        """Work that checks ten times a second."""
        mark(into, "start")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.kill_event()
            block(0.02)
        mark(into, "end")
        return "done"

    def stubborn(self, seconds: float, into: str) -> str:
        """Never checks, and holds what is raised in it."""
        mark(into, "start")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                block(end - time.monotonic())
            except Exception:
                continue
        return "done"

    def slow_first(self, into: str) -> str:
        """Runs into any limit at its first attempt, and ends at once at its second."""
        mark(into, "start")
        if executions.current().attempt == 1:  # type: ignore[union-attr]
            self.steps(60, f"{into}-steps")
        return "done"

    def count(self, seconds: float, into: str) -> None:
        """Say when it began and when it ended."""
        begun = time.time()  # noqa: TID251
        block(seconds)
        mark(into, f"{begun} {time.time()}")  # noqa: TID251


client.services.deploy(Runner, name="my-service")
client.services.deploy(Runner, name="limited", concurrency=2)
client.services.deploy(Runner, name="paused")
client.services.deploy(Runner, name="timed", execution_timeout=2)
client.services.deploy(Runner, name="again", execution_timeout=1, on_reset="rerun", max_attempts=2)
client.services.deploy(Runner, name="drained", drain_time=1)
client.services.deploy(Runner, name="patient")
client.services.deploy(Runner, name="forced")
client.services.deploy(Runner, name="forced-rerun", on_reset="rerun")
client.services.deploy(Runner, name="routed", queue="gpu-t4")
client.services.deploy(Runner, name="changed")
client.services.deploy(Runner, name="on-threads", queue="q-threads", concurrency=1)
client.services.deploy(Runner, name="on-solo", queue="q-solo", concurrency=1)


@app.task(service="timed", execution_timeout=60)
def own_limit() -> str:
    """A plain task of a service, with a limit of its own that is longer."""
    block(2.5)
    return "done"


@app.task(service="timed", max_attempts=2)
def no_limit_of_its_own() -> str:
    """A plain task of a service: the service's limit is its own."""
    end = threading.Event()
    for _ in range(500):
        executions.checkpoint()
        end.wait(0.02)
    return "done"


client.services.deploy(Runner, name="fragile", queue="fragile", concurrency=1)
