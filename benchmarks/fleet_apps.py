"""The two apps that are compared: the same functions, once in a plain Celery app and once in an installed one.

Stock is set up for a fair match of what an execution records: a result backend, `task_track_started`, events.
"""

from __future__ import annotations

import os
import threading

from celery import Celery

import executions
from executions.clock import SYSTEM_CLOCK


def make_app(kind: str, url: str) -> Celery:
    """Make the app of one side: `stock` or `ours`."""
    app = Celery(f"bench-{kind}", broker=url, set_as_current=False)
    app.conf.update(worker_hijack_root_logger=False, task_default_queue=f"bench-{kind}", worker_redirect_stdouts=False)
    if kind == "stock":
        app.conf.update(result_backend=url, task_track_started=True)
    else:
        executions.install(app, registry=url)

    @app.task(name=f"{kind}.noop", shared=False)
    def noop() -> None:
        return None

    @app.task(name=f"{kind}.now", shared=False)
    def now() -> float:
        return SYSTEM_CLOCK.now()

    @app.task(name=f"{kind}.checking", shared=False)
    def checking() -> None:
        pause = threading.Event()
        while True:
            executions.checkpoint()
            pause.wait(0.01)

    return app


def of_environment() -> Celery:
    """Make the app that a worker of the benchmark was started for."""
    return make_app(os.environ["BENCH_KIND"], os.environ["BENCH_URL"])
