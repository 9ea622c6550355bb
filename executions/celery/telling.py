"""Telling those who wait for an execution that it has ended, by whoever lives to do it: docs/decisions/chords.md.

Celery tells them in a second step, after the end is on record. Whoever dies between the two leaves the record in `due`,
and so does who writes an end without its message: a rescuer, or whoever terminates what waits. Upkeep then tells them,
from what the record keeps of the message.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from billiard.exceptions import WorkerLostError
from celery import group, states
from celery.app.task import Context
from celery.canvas import Signature
from celery.exceptions import NotRegistered, TaskRevokedError
from celery.utils.functional import arity_greater

from executions.celery.chords import is_sent
from executions.celery.followers import release_chain
from executions.celery.site import Site
from executions.ids import named_id
from executions.states import Status

_SUCCESSES = (Status.SUCCESS, Status.CACHED)


def tell(site: Site, backend: Any, execution_id: str) -> bool:
    """Do what is left to do for those who wait for an execution; False where it has to be looked at again."""
    raw = site.dispatcher.kept(site.space, execution_id)
    status = Status(raw["st"]) if raw else Status.PENDING
    if not status.is_terminal:
        return True
    request = Context(site.dispatcher.as_received(execution_id, raw))
    state, result = _outcome(backend, execution_id, status, raw.get("msg", ""))
    if status not in _SUCCESSES:
        why = "was terminated" if status is Status.TERMINATED else "failed"
        release_chain(site, backend, request, result, f"{execution_id} {why} before it")
    if status is Status.FAILED:
        _send_errbacks(backend.app, request)
    return not request.chord or _tell_chord(site, backend, request, state, result, has_run="sd" in raw)


def _tell_chord(site: Site, backend: Any, request: Any, state: str, result: Any, *, has_run: bool) -> bool:
    """Have a member counted. Another backend counts as often as it is told: there only what no worker has counted."""
    if not hasattr(backend, "count_member"):
        if not has_run and not is_sent(site, request.chord):
            backend.on_chord_part_return(request, state, result)
        return True
    if is_sent(site, request.chord):
        return bool(backend.forget_chord(request.group))
    backend.count_member(request, state, result)
    return not backend.is_sending(request.group)


def _send_errbacks(app: Any, request: Any) -> None:
    """Send the tasks that are called with the id of what failed.

    Those that take the error itself Celery runs where the function ran; here, they would hold up upkeep.
    """
    sent = [one for one in map(app.signature, request.errbacks or ()) if not _is_run_in_place(one)]
    for at, one in enumerate(sent):
        # Whoever comes again after a death sends the same executions, not further ones.
        one.set(task_id=one.options.get("task_id") or named_id(f"{request.id} errback {at}", one.task))
    if sent:
        group(sent, app=app).apply_async((request.id,), parent_id=request.id, root_id=request.root_id or request.id)


def _is_run_in_place(errback: Signature) -> bool:
    """Tell how Celery would call it, in its own words."""
    try:
        header = getattr(errback.type, "__header__", None)
    except NotRegistered:
        return False
    return header is not None and not isinstance(header, partial) and bool(arity_greater(header, 1))


def _outcome(backend: Any, execution_id: str, status: Status, message: str) -> tuple[str, Any]:
    """Give the end of an execution as Celery's backends take it."""
    if status is Status.TERMINATED:
        return states.REVOKED, TaskRevokedError("terminated")
    found = backend.get_task_meta(execution_id, cache=False)["result"]
    if status in _SUCCESSES:
        return states.SUCCESS, found
    # Another backend knows nothing of what was lost with its worker.
    return states.FAILURE, found if isinstance(found, BaseException) else WorkerLostError(message)
