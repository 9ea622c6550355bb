"""The streams' addresses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from executions.client import Client
from executions.server.live.hub import Hub
from executions.server.security.require import Viewing

router = APIRouter(
    prefix="/api/v1",
    tags=["logs and events"],
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)

_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}

Since = Annotated[str | None, Query(max_length=200_000, description="The id of the last frame that was seen.")]
Last = Annotated[str | None, Header(alias="Last-Event-ID", description="As `since`; browsers send it by themselves.")]


def _answer(frames: AsyncIterator[bytes]) -> StreamingResponse:
    return StreamingResponse(frames, media_type="text/event-stream", headers=_HEADERS)


def _hub(request: Request) -> Hub:
    hub: Hub = request.app.state.live
    return hub


@router.get("/stream", response_class=StreamingResponse)
async def stream(
    request: Request, client: Viewing, since: Since = None, last_event_id: Last = None
) -> StreamingResponse:
    """Follow all executions as server-sent events. Needs `view`."""
    return _answer(_hub(request).listen(None, last_event_id or since))


@router.get("/executions/{execution_id}/stream", response_class=StreamingResponse)
async def stream_one(
    request: Request,
    client: Viewing,
    execution_id: Annotated[str, Path(max_length=300, description="The execution's id, or its number.")],
    since: Since = None,
    last_event_id: Last = None,
) -> StreamingResponse:
    """Follow one execution as server-sent events, until it has ended: then comes `bye`. Needs `view`."""
    await run_in_threadpool(client.executions.get, execution_id)
    return _answer(_until_end(_hub(request), client, execution_id, last_event_id or since))


async def _until_end(hub: Hub, client: Client, execution_id: str, since: str | None) -> AsyncIterator[bytes]:
    """Follow one execution to its end; what had ended before the reader found its place is seen by the first look."""
    async for piece in hub.listen(execution_id, since):
        yield piece
        if b"event: " in piece and (await run_in_threadpool(client.executions.get, execution_id)).is_done:
            yield b"event: bye\ndata: {}\n\n"
            return
