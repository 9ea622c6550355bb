"""Executions: list and count them, look at one, wait for it, see what belongs to it."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import BaseModel, Field

from executions.queue import Position
from executions.server.addresses import address, path_of
from executions.server.api.models import (
    Attempt,
    Count,
    Detail,
    ExecutionPage,
    Facets,
    Limit,
    Stats,
    StatusEntry,
    Summary,
    attempts_of,
    entries_of,
)
from executions.server.api.schema import PROBLEMS
from executions.server.api.waiting import LONGEST_WAIT_S, Until, waited
from executions.server.security.require import Viewing

router = APIRouter(prefix="/api/v1/executions", tags=["executions"], responses=PROBLEMS)

#: Characters of a cursor: those of a registry with a thousand shards still fit into an address that servers take.
LONGEST_CURSOR = 60_000

Q = Annotated[str, Query(max_length=4000, description="A query in the search language, as in `status:failed`.")]
Sort = Annotated[str, Query(max_length=50, description="created, started, finished or duration; with - downwards.")]
Id = Annotated[str, Path(max_length=300, description="The execution's id, or its number.")]
Cursor = Annotated[
    str | None,
    Query(max_length=LONGEST_CURSOR, pattern=r"^[A-Za-z0-9_\-]*$", description="`next_cursor` of the page before."),
]

#: Executions that one started, which are given at once.
MOST_CHILDREN = 500


class Children(BaseModel):
    """The executions that one started, oldest first."""

    items: list[Summary]
    more: bool


class PositionDetail(BaseModel):
    """Where the message of an execution lies in its queue."""

    position: int | None = Field(description="1 for the one that is taken next; null where it is not known.")
    at_least: int | None = Field(description="How far was looked, where it lies further back than that.")
    about: bool = Field(description="Whether others may still be taken before it: it has another priority.")
    held: bool = Field(description="Whether a worker holds it already, to start it when a slot is free.")
    length: int | None = Field(description="Messages in the queue.")
    text: str = Field(description="The same in words; empty where nothing is known.")

    @classmethod
    def of(cls, found: Position | None) -> PositionDetail:
        """Take it from a position; there is none for what does not wait in a queue, or on RabbitMQ."""
        if found is None:
            return cls(position=None, at_least=None, about=False, held=False, length=None, text="")
        is_known = found.is_found and not found.is_held
        return cls(
            position=found.ahead + 1 if is_known else None,
            at_least=None if found.is_found else found.ahead,
            about=found.is_about,
            held=found.is_held,
            length=None if found.is_held else found.length,
            text=str(found),
        )


@router.get("")
def list_executions(
    request: Request,
    response: Response,
    client: Viewing,
    q: Q = "",
    sort: Sort = "-created",
    limit: Limit = 50,
    cursor: Cursor = None,
    count: Annotated[Literal["none", "exact"], Query(description="Whether to count all that match as well.")] = "none",
) -> ExecutionPage:
    """List executions, the newest first unless sorted otherwise; the header Link leads on. Needs `view`."""
    page = client.executions.list(q or None, sort=sort, limit=limit, cursor=cursor)
    if page.next_cursor:
        response.headers["Link"] = f'<{_with(request, cursor=page.next_cursor)}>; rel="next"'
    return ExecutionPage(
        items=[Summary.of(one) for one in page],
        next_cursor=page.next_cursor,
        count=Count(value=client.executions.count(q or None)) if count == "exact" else None,
    )


@router.get("/facets")
def count_executions_by(
    client: Viewing,
    q: Q = "",
    by: Annotated[str, Query(max_length=200, description="Fields, with commas between.")] = "status,function,pipeline",
    exact: Annotated[bool, Query(description="Whether to count every match, where an estimate is quicker.")] = True,
) -> Facets:
    """Count the executions that match by the values of some fields, the most frequent first. Needs `view`."""
    found = client.executions.facets(q or None, [field.strip() for field in by.split(",")], exact=exact)
    return Facets.of(found)


@router.get("/stats")
def sum_up_executions(
    client: Viewing,
    q: Q = "",
    since: Annotated[str, Query(alias="from", max_length=100, description="A time as in a query, as `-24h`.")] = "-24h",
    until: Annotated[str, Query(alias="to", max_length=100, description="The same; a day ends with the day.")] = "now",
    step: Annotated[
        str | None, Query(max_length=40, description="A length as `1h`, or seconds; at most 200 steps.")
    ] = None,
) -> Stats:
    """Sum up the executions that match over time: rates, throughput, percentiles, by step. Needs `view`."""
    return Stats.of(client.executions.stats(q or None, since, until, step))


@router.get(
    "/{execution_id}", response_model=Detail, responses={304: {"description": "It is as `If-None-Match` knows it."}}
)
async def get_execution(
    request: Request,
    client: Viewing,
    response: Response,
    execution_id: Id,
    wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT_S, description="Seconds to wait for what `until` says.")] = 0,
    until: Annotated[Until, Query(description="What to wait for; `change` is the next entry of its log.")] = "done",
    if_none_match: Annotated[str | None, Header()] = None,
) -> Any:
    """Give all that is known of one execution, at once or after a wait. Needs `view`."""
    detail = await waited(request, client, execution_id, wait, until, Detail.of)
    if if_none_match and detail.etag in if_none_match:
        return Response(status_code=304, headers={"ETag": detail.etag})
    response.headers["ETag"] = detail.etag
    return detail


@router.get("/{execution_id}/position")
def get_position(client: Viewing, execution_id: Id) -> PositionDetail:
    """Tell how many messages are taken from its queue before that of one that waits. Needs `view`."""
    return PositionDetail.of(client.queues.position(client.executions.get(execution_id)))


@router.get("/{execution_id}/attempts")
def list_attempts(client: Viewing, execution_id: Id) -> list[Attempt]:
    """Give every attempt that has started, the first one first. Needs `view`."""
    return attempts_of(client.executions.get(execution_id))


@router.get("/{execution_id}/status-log")
def list_status_log(client: Viewing, execution_id: Id) -> list[StatusEntry]:
    """Give every status that it has had, oldest first. Needs `view`."""
    return entries_of(client.executions.get(execution_id))


@router.get("/{execution_id}/children")
def list_children(client: Viewing, execution_id: Id) -> Children:
    """Give the executions that it started, the oldest 500. Needs `view`."""
    execution = client.executions.get(execution_id)
    page = client.executions.list(f'parent:"{execution.id}"', sort="created", limit=MOST_CHILDREN)
    return Children(items=[Summary.of(one) for one in page], more=page.next_cursor is not None)


def _with(request: Request, **changed: str) -> str:
    """Give the address of this request with some parameters changed."""
    kept = [(name, value) for name, value in request.query_params.multi_items() if name not in changed]
    return f"{address(request, path_of(request))}?{urlencode([*kept, *changed.items()])}"
