"""Sends on the executions that wait for their service, once there is room for them.

The order of steps is what makes a crash harmless: chosen in the service (nobody else chooses it), into the
outbox with its record (the publisher finds it), then to the broker. See registry/services.py for who mends what.
"""

from __future__ import annotations

import logging

from executions.errors import ExecutionsError
from executions.parts import Parts
from executions.registry.queries import Queries
from executions.registry.services import BATCH
from executions.registry.transitions import Opened
from executions.service import ServiceState
from executions.states import Reason
from executions.telemetry import log

logger = logging.getLogger(__name__)


def count_running(parts: Parts, state: ServiceState) -> int:
    """Have what started before its service got a limit count for it; give how many were missing."""
    if state.settings.concurrency is None:
        return 0
    queries = Queries(parts.space, lambda execution: execution)
    query = f'status:running AND service:"{state.name}"'
    if queries.count(query) <= parts.services.running(state.name):
        return 0
    found = queries.page(query, sort="created", limit=BATCH)
    return parts.services.adopt(state.name, [f"{one.id}/{one.attempt}" for one in found])


def release(parts: Parts, service: str, ticket: str) -> None:
    """Give a slot back and send the next one on. What fails here is mended by the waker, so it hurts nobody."""
    try:
        _fill(parts, service, ticket, 1)
    except ExecutionsError as error:
        log(logger, "service.slot_kept", service=service, ticket=ticket, error=error)


def wake(parts: Parts, service: str) -> int:
    """Send on as many as there is room for; give how many."""
    state = parts.services.read(service)
    sent = _fill(parts, service, "", BATCH)
    if state is None or state.settings.concurrency is None:
        # Without a limit there is always room; in batches, so that no reply is large.
        more = sent
        while more:
            more = _fill(parts, service, "", BATCH)
            sent += more
    return sent


def forget(parts: Parts, execution_id: str) -> None:
    """Take an execution that was terminated while it waited out of its service's queue."""
    service = parts.transitions.service_of(execution_id)
    if service:
        parts.services.unpark(service, [execution_id])


def send_on(parts: Parts, service: str, execution_ids: list[str]) -> list[str]:
    """Send waiting executions on; give back those that do not wait any more."""
    gone = []
    for execution_id in execution_ids:
        outcome = parts.transitions.park(execution_id, reason=Reason.QUEUED, publish=True)
        if not isinstance(outcome, Opened):
            gone.append(execution_id)
        else:
            parts.dispatcher.republish(parts.space, execution_id)
    parts.services.unpark(service, gone)
    return gone


def _fill(parts: Parts, service: str, ticket: str, most: int) -> int:
    chosen = parts.services.leave(service, ticket, most)
    sent = 0
    while chosen:
        gone = send_on(parts, service, chosen)
        sent += len(chosen) - len(gone)
        # Each that had ended meanwhile leaves its room to another.
        chosen = parts.services.leave(service, most=len(gone)) if gone else []
    return sent
