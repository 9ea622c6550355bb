"""What goes out and comes in, as the description of the API has it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from executions.cli.documents import full, plain, stats_of
from executions.columns import SUMMARY
from executions.execution import Execution
from executions.page import Facet
from executions.states import Reason, Status
from executions.stats import Stats as Found

#: A number of items that a list gives at once.
Limit = Annotated[int, Field(ge=1, le=500)]


class Summary(BaseModel):
    """What a list tells of an execution."""

    id: str
    number: int
    name: str | None
    function: str
    service: str | None
    pipeline: str | None
    stage: str | None
    queue: str | None
    status: Status
    reason: Reason
    message: str
    attempt: int = Field(description="The number of the current attempt; 0 before the first start.")
    progress: int
    worker: str | None
    principal: str | None
    parent_id: str | None
    root_id: str | None
    reference: str | None
    created: datetime | None
    queued: datetime | None
    started: datetime | None
    finished: datetime | None
    duration: float | None = Field(description="Seconds of the current attempt, once it has ended.")
    tags: list[str]
    commit: str | None = Field(description="Of the code that submitted it.")
    branch: str | None
    to_terminate: bool
    note_count: int = Field(description="How many notes it has.")
    url: str

    @classmethod
    def of(cls, execution: Execution) -> Summary:
        """Take it from an execution."""
        return cls.model_validate({name: getattr(execution, name) for name in SUMMARY} | _besides(execution))


class ErrorDetail(BaseModel):
    """The exception that ended an attempt."""

    type: str
    message: str
    traceback: str | None
    frame: str | None
    fingerprint: str | None
    kind: str
    exit_code: int | None


class Code(BaseModel):
    """Which code a process ran, as far as its checkout told."""

    commit: str
    branch: str | None
    repository: str | None
    author: str | None
    message: str | None
    is_dirty: bool | None = Field(description="Whether tracked files differed from the commit.")


class Attempt(BaseModel):
    """One try of an execution on one worker."""

    number: int
    status: Status
    reason: Reason
    worker: str | None
    pid: int | None
    pool: str | None
    started: datetime | None
    finished: datetime | None
    duration: float | None
    cpu_seconds: float | None
    max_rss_mb: float | None
    error: ErrorDetail | None
    service_version: int | None


class StatusEntry(BaseModel):
    """One entry of a status log."""

    model_config = ConfigDict(extra="allow")

    status: Status
    reason: Reason
    message: str = Field(description="What happened; of what somebody asked for, why.")
    timestamp: datetime
    attempt: int
    worker: str | None = Field(description="Where the attempt ran.")
    principal: str | None = Field(description="Who asked for it, where somebody did.")


class Note(BaseModel):
    """What somebody wrote about an execution."""

    timestamp: datetime
    principal: str
    text: str


class Detail(Summary):
    """All that is known of an execution."""

    service_version: int | None
    pid: int | None
    pool: str | None
    eta: datetime | None
    expires: datetime | None
    execution_timeout: int | None
    max_attempts: int | None
    progress_message: str | None
    properties: dict[str, Any]
    inputs: dict[str, Any] = Field(description="As they may be shown: what looks secret is redacted.")
    output: Any
    output_missing: str | None = Field(default=None, description="Why the output cannot be had from here.")
    error: ErrorDetail | None
    stop_request: dict[str, Any] | None
    status_log: list[StatusEntry]
    attempts: list[Attempt]
    code: Code | None = Field(description="The code that submitted it.")
    ran: Code | None = Field(description="The code that ran it, where that was another commit.")
    metrics: dict[str, list[dict[str, Any]]]
    notes: list[Note] = Field(description="What people wrote about it, oldest first.")

    @property
    def etag(self) -> str:
        """What changes with any of it, as headers have it."""
        return f'"{hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:32]}"'

    @classmethod
    def of(cls, execution: Execution) -> Detail:
        """Take it from an execution; its output and metrics are read for that."""
        return cls.model_validate(full(execution) | _besides(execution))


class Count(BaseModel):
    """How many match in all."""

    value: int
    kind: str = "exact"


class ExecutionPage(BaseModel):
    """Some executions of a list.

    A page of a query that finds little in much may hold fewer than asked for, even none, and still have a
    `next_cursor`. The list is over when that is null.
    """

    items: list[Summary]
    next_cursor: str | None
    count: Count | None = None


class FacetValues(BaseModel):
    """How many executions have each value of a field, the most frequent first."""

    values: dict[str, int]
    complete: bool = Field(description="Whether these are all values; a field with very many shows its most frequent.")
    estimated: bool = Field(description="Whether they were counted in a part of what matches.")


class Facets(BaseModel):
    """Counts by field."""

    facets: dict[str, FacetValues]

    @classmethod
    def of(cls, found: Mapping[str, Facet]) -> Facets:
        """Take them from what the client counts."""
        return cls(
            facets={
                name: FacetValues(values=facet, complete=facet.complete, estimated=facet.estimated)
                for name, facet in found.items()
            }
        )


class Spread(BaseModel):
    """Percentiles of lengths of time, in seconds."""

    p50: float
    p95: float
    p99: float


class Period(BaseModel):
    """What happened in a stretch of time."""

    since: datetime
    until: datetime
    created: int
    started: int
    finished: dict[Status, int] = Field(description="How many ended in it, by their status.")
    ended: int = Field(description="All of these together.")
    success_rate: float | None = Field(description="The share of those that ended, cached ones included; from 0 to 1.")
    failure_rate: float | None
    throughput: float = Field(description="How many ended in a second.")
    duration: Spread | None = Field(description="Of those that ended in it and had started.")
    queue_time: Spread | None = Field(description="Of those that started in it, from when they were queued.")


class Stats(BaseModel):
    """Statistics over time: step by step, and as a whole."""

    total: Period
    steps: list[Period]
    complete: bool = Field(description="Whether all were looked at; the numbers are estimates otherwise.")
    scanned: int = Field(description="Records that were read, a few thousand at most.")

    @classmethod
    def of(cls, found: Found) -> Stats:
        """Take them from what the client sums up."""
        return cls.model_validate(stats_of(found))


def _besides(execution: Execution) -> dict[str, Any]:
    """Give what the documents of the command line leave out."""
    code = execution.code
    return {"url": execution.path, "commit": code.commit if code else None, "branch": code.branch if code else None}


def attempts_of(execution: Execution) -> list[Attempt]:
    """Give the attempts of an execution."""
    return [Attempt.model_validate({**plain(one), "duration": one.duration}) for one in execution.attempts_log]


def entries_of(execution: Execution) -> list[StatusEntry]:
    """Give the status log of an execution."""
    return [StatusEntry.model_validate(plain(one)) for one in execution.status_log]


def notes_of(execution: Execution) -> list[Note]:
    """Give the notes on an execution."""
    return [Note.model_validate(plain(one)) for one in execution.notes]


def to_json(value: Any) -> str:
    """Write one line of JSON."""
    return json.dumps(plain(value), ensure_ascii=False)
