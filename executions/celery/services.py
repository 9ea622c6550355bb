"""The functions of a service as Celery tasks: one for each, named `<service>.<function>`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Celery


def task_name(service: str, function: str) -> str:
    """Give the name of the task behind a function of a service."""
    return f"{service}.{function}"


def register_functions(
    app: Celery, service: str, functions: dict[str, Callable[..., Any]], queue: Callable[[], str | None]
) -> None:
    """Make a task of each function; `queue` is asked at each submit, so that an update moves later ones."""
    for name, function in functions.items():
        full = task_name(service, name)
        if full in app._tasks:
            app._tasks.unregister(full)
        app.task(
            function,
            name=full,
            service=service,
            queue=property(lambda task: queue()),
            # The runner checks the inputs, so that a wrong one is on record, whoever sent it.
            typing=False,
            shared=False,
            # Made now: of two deploys in one process, the later one holds.
            lazy=False,
        )
