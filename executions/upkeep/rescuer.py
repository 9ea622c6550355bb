"""Frees executions of workers that are gone: another attempt where the policy says so, a failure where not."""

from __future__ import annotations

import json
import logging
from typing import Any

from executions.execution import ErrorInfo, Execution
from executions.parts import Parts
from executions.policy import Retry, after_reset, read_reset
from executions.registry.queries import Queries
from executions.registry.records import encode_error
from executions.registry.transitions import Ending, Found, Opened, StopFirst
from executions.registry.workers import LostTerm
from executions.states import Reason, Status
from executions.telemetry import log
from executions.upkeep import Report

logger = logging.getLogger(__name__)

#: Executions of one lost worker that one run frees.
FREED_AT_ONCE = 500


class Rescuer:
    """May run twice at once: each attempt is closed by one of them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._queries = Queries(parts.space, lambda execution: execution)

    def run_once(self, now: float) -> Report:
        """Free what the workers had whose lease has run out."""
        done = left = 0
        for lost in self._parts.workers.lost():
            log(logger, "worker.lost", worker=lost.worker, term=lost.term)
            freed, more = self._free(lost)
            done += freed
            if more:
                left += 1
            else:
                self._parts.workers.resign(lost.term)
        return Report(done, left)

    def _free(self, lost: LostTerm) -> tuple[int, bool]:
        found = self._queries.page(
            f'status:running AND worker:"{lost.worker}"', sort="created", limit=FREED_AT_ONCE // 2
        )
        mine = [one for one in found if one.started is not None and one.started.timestamp() < lost.before]
        for execution in mine:
            self._rescue(execution.id, lost)
        return len(mine), bool(mine) and found.next_cursor is not None

    def _rescue(self, execution_id: str, lost: LostTerm) -> None:
        execution = self._queries.get(execution_id)
        if execution.status is not Status.RUNNING:
            return
        transitions, attempt = self._parts.transitions, execution.attempt
        message = f"worker {lost.worker} was lost"
        outcome: Any = StopFirst()
        if isinstance(after_reset(_policy(execution), attempt), Retry):
            ended = ("er", _error(message))
            outcome = transitions.retry(execution_id, attempt, reason=Reason.RERUN, message=message, ended=ended)
        if isinstance(outcome, Opened):
            self._parts.dispatcher.republish(self._parts.space, execution_id)
        elif isinstance(outcome, StopFirst):
            outcome = transitions.finish(execution_id, attempt, _ending(execution, message))
        if not isinstance(outcome, Found):
            log(logger, "execution.rescued", id=execution_id, attempt=attempt, worker=lost.worker)


def _policy(execution: Execution) -> Any:
    raw = execution._raw
    return read_reset(raw.get("rp", ""), json.loads(raw["op"]) if raw.get("op") else {})


def _ending(execution: Execution, message: str) -> Ending:
    """Its end: terminated where somebody had asked for that, failed otherwise."""
    error = _error(message)
    if execution.to_terminate:
        return Ending(
            status=Status.TERMINATED, reason=Reason.REQUESTED, message=message, result=error, fields=("er", error)
        )
    return Ending(status=Status.FAILED, reason=Reason.WORKER_LOST, message=message, result=error, fields=("er", error))


def _error(message: str) -> str:
    info = ErrorInfo(type="WorkerLostError", message=message, kind="system", fingerprint="worker-lost")
    return encode_error(info, "WorkerLostError", "billiard.exceptions", [message])
