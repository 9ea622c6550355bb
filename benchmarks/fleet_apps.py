"""The two apps that are compared: the same functions, once plain and once installed.

Stock is set up for a fair match of what we record: a result backend, `task_track_started` and events.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

import executions


def make_app(kind: str, url: str) -> Celery:
    """Make the app of one side: `stock`, or `ours` (events as stock), or `quiet` (ours, without events)."""
    app = Celery("bench", broker=url, set_as_current=False)
    app.conf.update(
        worker_prefetch_multiplier=4,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        task_default_queue=f"bench-{kind}",
    )
    if kind == "stock":
        app.conf.update(result_backend=url, task_track_started=True)
    else:
        executions.install(app, registry=url)

    @app.task(name="noop")
    def noop() -> None:
        return None

    @app.task(name="stamp")
    def stamp() -> float:
        import time  # noqa: PLC0415

        return time.time()  # noqa: TID251

    @app.task(name="mark")
    def mark(key: str) -> Any:
        return key

    return app


app = make_app(os.environ.get("BENCH_KIND", "ours"), os.environ.get("BENCH_URL", "redis://127.0.0.1:6379/0"))  # noqa: TID251
