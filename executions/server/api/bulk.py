"""One action on many executions, chosen by a query or by ids: first dry, then as an object with progress."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from executions.bulk import MOST_IDS, Bulk, BulkPlan, BulkState
from executions.client import Client
from executions.server.addresses import address
from executions.server.api.acting import Body, Word
from executions.server.api.schema import CONFLICT, PROBLEMS, TOO_LARGE
from executions.server.audit import describe
from executions.server.carrying import carrying_of, looked_at
from executions.server.security.require import Operating, Viewing

router = APIRouter(prefix="/api/v1/bulk", tags=["bulk"], responses=PROBLEMS)
WRITES = CONFLICT | TOO_LARGE

#: Seconds between two looks of a stream at how far a bulk is, and after which a silent one gives a sign of life.
LOOK_S = 0.5
HEARTBEAT_S = 15.0

BulkId = Annotated[str, Path(max_length=100, description="The bulk's id.")]


class BulkOrder(Body):
    """What to do, and to which."""

    action: Literal["terminate", "rerun", "relaunch", "tag"]
    q: Annotated[str | None, Field(min_length=1, max_length=4000, description="A query; nothing is not all.")] = None
    ids: Annotated[list[Word] | None, Field(min_length=1, max_length=MOST_IDS, description="In place of `q`.")] = None
    dry_run: bool = Field(default=True, description="Only count. It has to be said that it is meant.")
    limit: int | None = Field(default=None, ge=1, description="How many are acted on at most, the newest ones.")
    reason: str = Field(default="", max_length=1000, description="Kept with it, and on what is terminated or rerun.")
    force: bool = Field(default=False, description="To terminate: kill at once.")
    grace: float | None = Field(
        default=None, ge=0, le=86_400, allow_inf_nan=False, description="To terminate: seconds until the kill."
    )
    tags: list[Word] = Field(default=[], max_length=100, description="To tag: they are added.")


class BulkPlanned(BaseModel):
    """What a bulk would do, as it looks now."""

    action: str
    dry_run: Literal[True] = True
    matched: int
    eligible: int = Field(description="Those that would be acted on, if `limit` lets them.")
    skipped: dict[str, int] = Field(description="Why the others stay as they are, and how many.")
    complete: bool = Field(description="Whether all were looked at; else the newest ten thousand that records tell of.")

    @classmethod
    def of(cls, plan: BulkPlan) -> BulkPlanned:
        """Take it from a plan."""
        return cls(
            action=plan.order.action,
            matched=plan.matched,
            eligible=plan.eligible,
            skipped=plan.others,
            complete=plan.complete,
        )


class BulkDetail(BaseModel):
    """A bulk, and how far it is."""

    id: str
    action: str
    q: str | None
    ids: int = Field(description="How many ids it was given.")
    limit: int | None
    reason: str
    principal: str
    state: BulkState
    created: datetime
    finished: datetime | None
    total: int | None = Field(description="How many matched at the start, where all could be counted.")
    looked: int = Field(description="How many it came to; the sum of done, skipped and failed.")
    done: int
    skipped: dict[str, int] = Field(description="Why some were left as they are, and how many.")
    failed: dict[str, int] = Field(description="What went wrong for some, and for how many.")
    failures: list[tuple[str, str]] = Field(description="Some of those: id and message.")
    gone: int = Field(description="How many matched at the start and not any more when it came to them.")
    cancelled_by: str
    message: str
    query: str = Field(description="Finds the executions that it has acted on.")

    @classmethod
    def of(cls, bulk: Bulk) -> BulkDetail:
        """Take it from a bulk."""
        same = ("id", "principal", "state", "created", "finished", "total", "looked", "done", "skipped", "failed",
                "gone", "cancelled_by", "message", "query")  # fmt: skip
        order = bulk.order
        return cls(
            action=order.action, q=order.query, ids=len(order.ids), limit=order.limit, reason=order.reason,
            failures=list(bulk.failures), **{name: getattr(bulk, name) for name in same},
        )  # fmt: skip


class BulkList(BaseModel):
    """The newest bulks."""

    items: list[BulkDetail]


_STARTED = {"model": BulkDetail, "description": "Started.", "headers": {"Location": {"schema": {"type": "string"}}}}


@router.post("", response_model=BulkPlanned | BulkDetail, responses={202: _STARTED, **WRITES})
def start_bulk(request: Request, response: Response, client: Operating, body: BulkOrder) -> BulkPlanned | BulkDetail:
    """Say what would be done to all that match; with `dry_run` false, start it. Needs `operate`."""
    given = body.model_dump(exclude={"action", "q", "dry_run"})
    which = body.q or f"{len(body.ids or ())} ids"
    describe(request, f"{'dry run of ' if body.dry_run else ''}{body.action} {which}")
    if body.dry_run:
        return BulkPlanned.of(client.bulk.plan(body.action, body.q, **given))
    bulk = client.bulk(body.action, body.q, **given)
    describe(request, f"{body.action} {which}, bulk {bulk.id}")
    carrying_of(request).wake()
    response.status_code = 202
    response.headers["Location"] = address(request, f"/api/v1/bulk/{bulk.id}")
    return BulkDetail.of(bulk)


@router.get("")
def list_bulks(client: Viewing, limit: Annotated[int, Query(ge=1, le=500)] = 50) -> BulkList:
    """List the newest bulks. Needs `view`."""
    return BulkList(items=[BulkDetail.of(one) for one in client.bulk.list(limit)])


@router.get("/{bulk_id}")
def get_bulk(request: Request, client: Viewing, bulk_id: BulkId) -> BulkDetail:
    """Tell how far a bulk is. Needs `view`."""
    return BulkDetail.of(looked_at(request, client, bulk_id))


@router.post("/{bulk_id}/cancel", status_code=202, responses=WRITES)
def cancel_bulk(request: Request, client: Operating, bulk_id: BulkId) -> BulkDetail:
    """Ask for a bulk to go no further; what it has in hand, at most a hundred, is finished. Needs `operate`."""
    bulk = client.bulk.cancel(bulk_id)
    carrying_of(request).wake()
    return BulkDetail.of(bulk)


@router.get(
    "/{bulk_id}/stream",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def stream_bulk(request: Request, client: Viewing, bulk_id: BulkId) -> StreamingResponse:
    """Follow a bulk as server-sent events, `bulk.progress`, until it has ended: then comes `bye`. Needs `view`."""
    await run_in_threadpool(client.bulk.get, bulk_id)
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(_progress(request, client, bulk_id), media_type="text/event-stream", headers=headers)


async def _progress(request: Request, client: Client, bulk_id: str) -> AsyncIterator[bytes]:
    yield b"retry: 2000\n\n"
    told, silent_s = "", 0.0
    while True:
        bulk = await run_in_threadpool(looked_at, request, client, bulk_id)
        text = json.dumps(BulkDetail.of(bulk).model_dump(mode="json"), separators=(",", ":"), ensure_ascii=False)
        if text != told:
            told, silent_s = text, 0.0
            yield f"event: bulk.progress\ndata: {text}\n\n".encode()
        elif silent_s >= HEARTBEAT_S:
            silent_s = 0.0
            yield b": still here\n\n"
        if bulk.is_over:
            yield b"event: bye\ndata: {}\n\n"
            return
        silent_s += LOOK_S
        await asyncio.sleep(LOOK_S)
