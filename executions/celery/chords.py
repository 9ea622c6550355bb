"""Telling a chord that a member has ended, by whoever lives to do it: docs/decisions/chords.md.

Celery counts a member in a second step, after its end is on record. Whoever dies between the two leaves the record in
`due`, and upkeep counts in its place, from what the record keeps of the message.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from celery import states
from celery.app.task import Context
from celery.exceptions import TaskRevokedError

from executions.celery.followers import leaves, release_chain
from executions.celery.site import Site
from executions.errors import Unavailable
from executions.registry.connection import translated
from executions.registry.schedule import Schedule
from executions.states import Reason, Status

_SUCCESSES = (Status.SUCCESS, Status.CACHED)


def told(site: Site, execution_id: str) -> None:
    """Say that the chord of a member knows of its end."""
    with suppress(Unavailable):  # then upkeep tells it once more, which changes nothing
        Schedule(site.space).forget(execution_id)


def is_sent(site: Site, body: Any) -> bool:
    """Whether the body of a chord is on record: it was sent, or has failed with its members.

    What a chord takes the place of has its body's id, and waits for it.
    """
    first = next(_first(body or {}), None)
    raw = _read(site, first["options"]["task_id"]) if first is not None else {}
    return bool(raw) and raw.get("rs") != Reason.WAITING


def tell(site: Site, backend: Any, execution_id: str) -> bool:
    """Do what is left to do for those who wait for a member; False where it has to be looked at again.

    Another backend than ours counts as often as it is told: there only who never ran has nobody else to tell it.
    """
    raw = _read(site, execution_id)
    status = Status(raw["st"]) if raw else Status.PENDING
    counts_once = hasattr(backend, "count_member")
    if not status.is_terminal or not (counts_once or "sd" not in raw):
        return True
    request = Context(site.dispatcher.as_received(execution_id, raw))
    state, result = _outcome(backend, execution_id, status)
    if request.chord and is_sent(site, request.chord):
        return not counts_once or bool(backend.forget_chord(request.group))
    if request.chord:
        (backend.count_member if counts_once else backend.on_chord_part_return)(request, state, result)
    if status not in _SUCCESSES:
        why = "was terminated" if status is Status.TERMINATED else "failed"
        release_chain(site, backend, request, result, f"{execution_id} {why} before it")
    return not (counts_once and request.chord and backend.is_sending(request.group))


def _outcome(backend: Any, execution_id: str, status: Status) -> tuple[str, Any]:
    """Give the end of a member as Celery's backends take it."""
    if status is Status.TERMINATED:
        return states.REVOKED, TaskRevokedError("terminated")
    found = backend.get_task_meta(execution_id, cache=False)["result"]
    return states.SUCCESS if status in _SUCCESSES else states.FAILURE, found


def _first(step: Any) -> Iterator[Any]:
    """Go through what is sent first of a body, where that has an id already."""
    kwargs = step.get("kwargs") or {}
    if step.get("subtask_type") != "chord":
        yield from leaves(step)
        return
    header = kwargs.get("header") or ()
    for one in (header,) if isinstance(header, dict) else header:
        yield from _first(one)


@translated
def _read(site: Site, execution_id: str) -> dict[str, str]:
    raw = site.space.client.hgetall(site.space.keys(execution_id).record(execution_id))
    return {key.decode(): value.decode(errors="replace") for key, value in raw.items()}
