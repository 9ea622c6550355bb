"""What executions wrote, and what happened to all of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import chain, islice
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from executions.cli.documents import rfc3339
from executions.logs import LEVELS
from executions.server.api.executions import LONGEST_CURSOR, Id, Q
from executions.server.api.models import Limit, to_json
from executions.server.api.schema import PROBLEMS
from executions.server.security.require import Viewing
from executions.states import Reason, Status

router = APIRouter(prefix="/api/v1", tags=["logs and events"], responses=PROBLEMS)

Level = Annotated[str | None, Query(description=f"The lowest level to give: {', '.join(LEVELS)}.", max_length=20)]
Number = Annotated[int | None, Query(ge=1, le=1_000_000, description="One attempt alone.")]

#: Lines that are sent at once.
_PIECE = 500


class LogLine(BaseModel):
    """One line."""

    timestamp: datetime
    message: str
    level: str
    stream: str
    attempt: int
    line: int


class LogLines(BaseModel):
    """Some lines of one attempt in a row."""

    items: list[LogLine]
    attempt: int
    next_line: int
    more: bool
    ended: bool


class Event(BaseModel):
    """A new entry of a status log. Without an id it says that older ones are not kept any more."""

    id: str | None
    status: Status | None
    reason: Reason | Literal["trimmed"]
    function: str | None
    service: str | None
    message: str
    timestamp: datetime | None
    attempt: int | None
    cursor: str


class Events(BaseModel):
    """Events in the order in which they happened, and where to go on."""

    items: list[Event]
    next_cursor: str


@router.get("/executions/{execution_id}/logs")
def read_log(
    client: Viewing,
    execution_id: Id,
    attempt: Number = None,
    level: Level = None,
    after: Annotated[int, Query(ge=0, le=10**12, description="`next_line` of the page before.")] = 0,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> LogLines:
    """Give a page of the lines of an attempt: the one that is asked for, or else the current one. Needs `view`."""
    execution = client.executions.get(execution_id)
    number = attempt or max(1, execution.attempt)
    page = client.executions.log_page(execution.id, number, after_line=after, limit=limit, level=level)
    return LogLines(
        items=[LogLine(**record) for record in page.records],
        attempt=number,
        next_line=page.next_line,
        more=page.more,
        ended=page.ended,
    )


@router.get(
    "/executions/{execution_id}/logs.txt",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def download_log(client: Viewing, execution_id: Id, attempt: Number = None, level: Level = None) -> StreamingResponse:
    """Give the whole log as text, of all attempts unless one is asked for. Needs `view`."""
    records = iter(client.executions.get(execution_id).logs(level=level, attempt=attempt))
    return streamed(records, _as_text, "text/plain; charset=utf-8")


@router.get(
    "/executions/{execution_id}/logs.ndjson",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}}},
)
def download_log_as_json_lines(
    client: Viewing, execution_id: Id, attempt: Number = None, level: Level = None
) -> StreamingResponse:
    """Give the whole log as JSON lines, of all attempts unless one is asked for. Needs `view`."""
    records = iter(client.executions.get(execution_id).logs(level=level, attempt=attempt))
    return streamed(records, to_json, "application/x-ndjson")


@router.get("/events")
def list_events(
    client: Viewing,
    q: Q = "",
    since: Annotated[
        str | None,
        Query(
            max_length=LONGEST_CURSOR,
            pattern=r"^(now|[0-9,\-]*)$",
            description="`next_cursor` of the page before, or `now`.",
        ),
    ] = None,
    limit: Limit = 100,
) -> Events:
    """Give what happened to all executions, oldest first, as far back as it is kept. Needs `view`."""
    feed = client.executions.events(q or None, since=since)
    items = [Event.model_validate(event) for event in islice(feed, limit)]
    return Events(items=items, next_cursor=feed.cursor)


def streamed(items: Iterator[Any], write: Any, media_type: str) -> StreamingResponse:
    """Send lines as they are read. The first is read before anything is sent, so that a refusal is an answer."""
    first = list(islice(items, 1))

    def pieces() -> Iterator[str]:
        lines = (f"{write(item)}\n" for item in chain(first, items))
        while piece := "".join(islice(lines, _PIECE)):
            yield piece

    return StreamingResponse(pieces(), media_type=media_type)


def _as_text(record: dict[str, Any]) -> str:
    return f"{rfc3339(record['timestamp'])} {record['level']:<8} {record['message']}"
