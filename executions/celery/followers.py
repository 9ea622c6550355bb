"""Those who wait for an execution: the next steps of its chain, the body of its chord.

Where it does not succeed they never start. Celery stores a failure for some of them and forgets the others
(after a revoke it forgets the chain); here each has a record that says why it never ran.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from celery import states
from celery.app.task import Context
from celery.canvas import Signature
from celery.exceptions import TaskRevokedError

from executions.celery.site import Site, site_of
from executions.errors import Unavailable
from executions.inputs import prepare
from executions.registry.schedule import Schedule
from executions.registry.transitions import Ending, Submission
from executions.states import Reason, Status


def leaves(step: Any) -> Iterator[Any]:
    """Go through the signatures below a step that have an execution of their own."""
    kind, kwargs = step.get("subtask_type"), step.get("kwargs") or {}
    if kind == "chord":
        yield from leaves(kwargs.get("body") or {})
    elif kind in ("group", "chain"):
        for one in kwargs.get("tasks") or ():
            yield from leaves(one)
    elif (step.get("options") or {}).get("task_id"):
        yield step


def record_waiting(site: Site, step: Any, root_id: str | None, parent_id: str | None) -> str:
    """Write a row for a signature that has not been sent, so that its end has a place to be recorded in."""
    options, function = step["options"], step["task"]
    execution_id = str(options["task_id"])
    redacted = getattr(site.app.tasks.get(function), "redact", None) or ()
    inputs = prepare(step.get("args") or (), step.get("kwargs") or {}, site.settings, site.payloads, also=redacted)
    site.transitions.submit(
        Submission(
            id=execution_id, function=function, inputs=inputs.shown, payload=inputs.true, reason=Reason.WAITING,
            principal=site.settings.principal, root_id=options.get("root_id") or root_id,
            parent_id=parent_id, in_outbox=False,
        )
    )  # fmt: skip
    return execution_id


def fail_followers(site: Site, execution_id: str, request: Any, written: str, why: str) -> None:
    """Record that the chain after an execution never runs."""
    # Of a message that no task is known for, Celery keeps next to nothing.
    root_id, parent_id = getattr(request, "root_id", None) or execution_id, execution_id
    for step in reversed(_chain(request)):
        for leaf in leaves(step):
            one = record_waiting(site, leaf, root_id, parent_id)
            site.transitions.settle(one, upstream_ending(written, why))
            parent_id = one


def upstream_ending(written: str, why: str) -> Ending:
    """The end of an execution that never runs because one before it did not succeed."""
    return Ending(status=Status.FAILED, reason=Reason.UPSTREAM, message=why, result=written, fields=("er", written))


def record_body(site: Site, callback: Any) -> None:
    """Write a row for the body of a chord that has failed."""
    for leaf in leaves(callback):
        record_waiting(site, leaf, None, None)


def release_followers(backend: Any, request: Any) -> None:
    """Let nobody wait for an execution that was stopped: Celery itself tells its chord, but not its chain."""
    site = site_of(backend.app)
    if site is None:
        return
    error = TaskRevokedError("terminated")
    if getattr(request, "chord", None):
        backend.on_chord_part_return(request, states.REVOKED, error)
    release_chain(site, backend, request, error, f"{request.id} was terminated before it")
    have_followed(site, request)


def have_followed(site: Site, request: Any) -> None:
    """Say that who waited for an execution knows of its end, where there was anybody."""
    if request is not None and is_awaited(request):
        told(site, request.id)


def is_awaited(request: Any) -> bool:
    """Whether anybody besides a chord has to hear of an end that is no success."""
    return bool(_chain(request) or getattr(request, "errbacks", None))


def told(site: Site, execution_id: str) -> None:
    """Owe nothing more to those who wait for an execution."""
    with suppress(Unavailable):  # then upkeep tells them once more, which changes nothing
        Schedule(site.space).forget(execution_id)


def release_chain(site: Site, backend: Any, request: Any, error: BaseException, why: str) -> None:
    """Fail the steps after an execution that did not succeed, on record and in the backend."""
    written = backend.encode_error(error)
    fail_followers(site, request.id, request, written, why)
    for step in _chain(request):
        context = _context(step)
        if context.id is not None:
            backend.store_result(context.id, error, states.FAILURE, request=context)
        if "chord" in context.options:
            backend.on_chord_part_return(context, states.FAILURE, error)


def _context(step: Any) -> Context:
    """Make of a signature what the backend takes for a request, as Celery does when a chain fails."""
    context = Context(step)
    context.update(context.options)
    context.id = context.options.get("task_id")
    context.group = context.options.get("group_id")
    return context


def _chain(request: Any) -> list[Any]:
    given = getattr(request, "chain", None)
    # The next step is the last of the list.
    return list(given) if isinstance(given, Iterable) and not isinstance(given, str | Signature) else []
