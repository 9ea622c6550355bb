"""The audit log: every request that changes something, or would have, with who sent it and how it went.

It is written around the routes, so that none can be forgotten; a route adds what it knows with `describe`.
"""

from __future__ import annotations

import logging

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from executions.access import Who
from executions.client import Client
from executions.errors import ExecutionsError
from executions.server.security.asking import Access, source_of
from executions.server.security.envelope import SAFE
from executions.telemetry import log

logger = logging.getLogger(__name__)


def describe(request: Request, detail: str) -> None:
    """Add to the entry of this request what its address does not tell."""
    request.state.audit_detail = detail


def note(request: Request, client: Client, detail: str) -> None:
    """Write an entry about a request that changes nothing and is worth one: what it gives away leaves the page."""
    who: Who = request.state.who
    client.audit.record(
        who.name, request.scope["route"].name, " ".join(map(str, request.scope["path_params"].values())), "done",
        role=who.role, detail=detail, source=source_of(request, request.app.state.access),
        request_id=request.state.request_id,
    )  # fmt: skip


class Audited:
    """The layer that writes the entries, before the answer goes out."""

    def __init__(self, app: ASGIApp, client: Client, access: Access) -> None:
        self._app = app
        self._client = client
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in SAFE:
            await self._app(scope, receive, send)
            return
        request = Request(scope)

        async def send_recorded(message: Message) -> None:
            if message["type"] == "http.response.start":
                await run_in_threadpool(self._record, request, message["status"])
            await send(message)

        try:
            await self._app(scope, receive, send_recorded)
        except Exception:
            # Nobody knows how far it came: the more reason to have it on record.
            await run_in_threadpool(self._record, request, 500)
            raise

    def _record(self, request: Request, status: int) -> None:
        who: Who | None = getattr(request.state, "who", None)
        detail = getattr(request.state, "audit_detail", "")
        if who is None and not detail:
            return  # what strangers try would push out what was done
        route, parameters = request.scope.get("route"), request.scope.get("path_params", {})
        try:
            self._client.audit.record(
                who.name if who else "nobody",
                getattr(route, "name", "") or f"{request.method} {request.url.path}",
                " ".join(str(value) for value in parameters.values()),
                _result(status),
                role=who.role if who else "",
                detail=detail,
                source=source_of(request, self._access),
                request_id=request.state.request_id,
            )
        except ExecutionsError as error:
            # What was done is done; that it is not on record is for the operator to know.
            log(logger, "audit.unwritten", request=request.state.request_id, error=error)


def _result(status: int) -> str:
    if status < 400:
        return "done"
    return f"refused: {status}" if status < 500 else f"failed: {status}"
