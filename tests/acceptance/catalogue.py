"""Functions with options of their own, which tests call by name."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, Task

import executions

app = Celery("catalogue", broker=os.environ.get("SHOP_BROKER", "redis://127.0.0.1:6379/0"), set_as_current=False)  # noqa: TID251
client = executions.install(app)
app.conf.update(broker_connection_retry_on_startup=True)


@app.task(tags=["gpu"], pipeline="nightly", stage="train", queue="declared", priority=3, redact=["pin"])
def train(dataset: str, pin: int = 0, *, epochs: int = 1) -> list[Any]:
    """Train a model."""
    return [dataset, pin, epochs]


@app.task(bind=True)
def bound(self: Task, x: int, y: int = 0) -> int:
    return x + y


@app.task
def anything(*args: Any, **kwargs: Any) -> int:
    return len(args) + len(kwargs)


class Runner(executions.ServiceRunner):
    """A service whose function asks for a `Progress` between its inputs."""

    def work(self, item: int, progress: executions.Progress, more: int = 1) -> int:
        return item + more


client.services.deploy(Runner, name="worked")
