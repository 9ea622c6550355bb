"""Makes every task of an installed app run through the runner, whatever its base class."""

from __future__ import annotations

from functools import partial
from typing import Any

from celery import Celery
from celery.app.task import Task
from celery.canvas import _chain as chain
from celery.canvas import chord
from kombu.utils.imports import symbol_by_name

from executions import context
from executions.celery.publish import MACHINERY
from executions.celery.request import ExecutionRequest
from executions.celery.runner import run
from executions.celery.site import Site
from executions.function import declared_policy

#: On a task's class: its original `__call__`, or None where it had none of its own.
ORIGINAL = "_executions_original_call"


def adopt(site: Site, task: Any) -> Any:
    """Have a task run as an execution; refuse a bad option in its decorator at once."""
    if task.name is None or task.name in MACHINERY:
        return task
    declared_policy(task)
    kind = type(task)
    if kind is Task or ORIGINAL in kind.__dict__:
        return task
    setattr(kind, ORIGINAL, _original_call(kind))
    kind.__call__ = _call
    kind.Request = _request_class(kind.Request)
    task.on_replace = partial(_on_replace, task, task.on_replace)
    # A tracer that was built before knows nothing of the new `__call__`.
    task.__trace__ = None
    return task


def _original_call(kind: Any) -> Any:
    if kind.__call__ is _call:
        # Its parent class was adopted before it.
        return getattr(kind, ORIGINAL)
    return kind.__call__ if kind.__call__ is not Task.__call__ else None


def _call(task: Any, /, *args: Any, **kwargs: Any) -> Any:
    return run(task, getattr(type(task), ORIGINAL), args, kwargs)


def _on_replace(task: Any, replace: Any, signature: Any) -> Any:
    """Before a chain or a chord takes a function's place: its execution waits for the last of them.

    Any later would be too late, they may all be done before the function is left.
    """
    running = context.running()
    if running is not None and running.id == task.request.id and not _goes_first(signature, running.id):
        running.extra["hand_on"](signature.task)
    return replace(signature)


def _goes_first(signature: Any, execution_id: str) -> bool:
    """Whether the message with this id is sent at once, and not by another step later on."""
    while isinstance(signature, chain):
        signature = signature.tasks[0]
    return not isinstance(signature, chord) and signature.options.get("task_id") == execution_id


def _request_class(given: Any) -> type:
    base = symbol_by_name(given) if isinstance(given, str) else given
    return base if issubclass(base, ExecutionRequest) else type("Request", (ExecutionRequest, base), {})


def adopt_all(site: Site) -> None:
    """Adopt the tasks that exist and those that will be made."""
    app: Celery = site.app
    make, register = app._task_from_fun, app.register_task

    def make_and_adopt(*args: Any, **kwargs: Any) -> Any:
        return adopt(site, make(*args, **kwargs))

    def register_and_adopt(task: Any, **options: Any) -> Any:
        return adopt(site, register(task, **options))

    app._task_from_fun = make_and_adopt
    app.register_task = register_and_adopt
    for task in list(app._tasks.values()):
        adopt(site, task)
