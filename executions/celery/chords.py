"""Whether the body of a chord is on its way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from executions.celery.followers import leaves
from executions.celery.site import Site
from executions.registry.connection import translated
from executions.states import Reason


def is_sent(site: Site, body: Any) -> bool:
    """Whether the body of a chord is on record: it was sent, or has failed with its members.

    What a chord takes the place of has its body's id, and waits for it.
    """
    first = next(_first(body or {}), None)
    reason = _reason_of(site, first["options"]["task_id"]) if first is not None else None
    return reason is not None and reason != Reason.WAITING


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
def _reason_of(site: Site, execution_id: str) -> str | None:
    raw: Any = site.space.client.hget(site.space.keys(execution_id).record(execution_id), "rs")
    return raw if raw is None else raw.decode()
