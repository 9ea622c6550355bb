"""Frees executions of workers that are gone: another attempt where the policy says so, a failure where not."""

from __future__ import annotations

import json
import logging
from typing import Any

from executions.clock import SYSTEM_CLOCK
from executions.errors import NotFound
from executions.execution import ErrorInfo, Execution
from executions.parts import Parts
from executions.policy import Retry, after_reset, poisoned, read_reset
from executions.registry.queries import Queries
from executions.registry.records import encode_error
from executions.registry.transitions import Ended, Ending, Opened, Poison, StopFirst
from executions.registry.workers import parse_term
from executions.states import Reason, Status
from executions.telemetry import log
from executions.upkeep import Report
from executions.upkeep.contact import Contact

logger = logging.getLogger(__name__)

#: Executions of one lost worker that one run frees.
FREED_AT_ONCE = 500


class Rescuer:
    """May run twice at once: a term is declared over once, and each of its attempts is closed by one of them."""

    def __init__(self, parts: Parts, contact: Contact) -> None:
        self._parts = parts
        self._contact = contact
        self._queries = Queries(parts.space, lambda execution: execution)

    def run_once(self, now: float) -> Report:
        """Free what ran under terms that are over."""
        heard_us = self._contact.proof(SYSTEM_CLOCK.monotonic())
        if heard_us is None:
            return Report(notes=("not in touch with the server for a whole lease yet: nobody is declared lost",))
        done = left = 0
        for term in self._parts.workers.condemn(heard_us):
            log(logger, "worker.lost", term=term)
            freed, more = self._free(term)
            done += freed
            if more:
                left += 1
            else:
                self._parts.workers.resign(term)
        return Report(done, left)

    def _free(self, term: str) -> tuple[int, bool]:
        worker, _ = parse_term(term)
        query, found = f'status:running AND worker:"{worker}"', 0
        cursor: str | None = None
        while found < FREED_AT_ONCE:
            page = self._queries.page(query, sort="created", limit=FREED_AT_ONCE // 2, cursor=cursor)
            for one in page:
                execution = running(self._queries, one.id)
                # What another incarnation of the worker runs is none of this term's.
                if execution is not None and owner_of(execution) == term:
                    found += rescue(self._parts, execution, f"worker {worker} was lost")
            cursor = page.next_cursor
            if cursor is None:
                return found, False
        return found, True


def running(queries: Queries, execution_id: str) -> Execution | None:
    """Read an execution whole, where it still runs."""
    try:
        found: Execution = queries.get(execution_id)
    except NotFound:
        return None
    return found if found.status is Status.RUNNING else None


def owner_of(execution: Execution) -> str:
    """Give the term that an execution runs under; nothing for one that was started outside a worker."""
    incarnation, _, _ = execution._raw.get("ck", "").rpartition(".")
    return f"{execution.worker}#{incarnation}" if incarnation else ""


def rescue_child(parts: Parts, term: str, pid: int, message: str, exit_code: int | None) -> None:
    """Close what a child process of a worker ran, where nothing else is known of it than the child."""
    queries = Queries(parts.space, lambda execution: execution)
    query = f'status:running AND worker:"{parse_term(term)[0]}"'
    # What a worker runs fits into one page: as many as it has slots.
    for one in queries.page(query, limit=FREED_AT_ONCE):
        execution = running(queries, one.id) if one.pid == pid else None
        if execution is not None and owner_of(execution) == term:
            rescue(parts, execution, message, exit_code)


def rescue(parts: Parts, execution: Execution, message: str, exit_code: int | None = None) -> bool:
    """Close the attempt that is seen running here, and no later one; tell whether it was closed."""
    transitions, attempt = parts.transitions, execution.attempt
    outcome: Any = None
    if not execution.to_terminate and isinstance(after_reset(_policy(execution), attempt), Retry):
        outcome = transitions.lose(execution.id, attempt, message=message, ended=("er", _error(message, exit_code)))
    if isinstance(outcome, Opened):
        parts.dispatcher.republish(parts.space, execution.id)
    elif outcome is None or isinstance(outcome, StopFirst | Poison):
        stopped = execution.to_terminate or isinstance(outcome, StopFirst)
        if isinstance(outcome, Poison):
            message = poisoned(message, outcome.losses)
        outcome = transitions.finish(execution.id, attempt, _ending(message, exit_code, stopped=stopped))
    is_closed = isinstance(outcome, Opened | Ended)
    if is_closed:
        log(logger, "execution.rescued", id=execution.id, attempt=attempt, why=message)
    return is_closed


def _policy(execution: Execution) -> Any:
    raw = execution._raw
    return read_reset(raw.get("rp", ""), json.loads(raw["op"]) if raw.get("op") else {})


def _ending(message: str, exit_code: int | None, *, stopped: bool) -> Ending:
    """Its end: terminated where somebody had asked for that, failed otherwise."""
    error = _error(message, exit_code)
    if stopped:
        return Ending(
            status=Status.TERMINATED, reason=Reason.REQUESTED, message=message, result=error, fields=("er", error)
        )
    return Ending(status=Status.FAILED, reason=Reason.WORKER_LOST, message=message, result=error, fields=("er", error))


def _error(message: str, exit_code: int | None) -> str:
    info = ErrorInfo(
        type="WorkerLostError", message=message, kind="system", fingerprint="worker-lost", exit_code=exit_code
    )
    return encode_error(info, "WorkerLostError", "billiard.exceptions", [message])
