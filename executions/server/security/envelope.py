"""What surrounds every request: its id, the headers that bind a browser, and the refusal of other sites' writes."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from executions.ids import new_id
from executions.server.problems import Problem, problem_response, response_of

#: Nothing from another host, nothing inline, nobody frames us.
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}

#: Bytes of a body that are taken. Larger values are submitted from Python, which puts them into the payload store.
MOST_BYTES = 16 * 1024 * 1024

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

#: Methods that change nothing.
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Envelope:
    """The outermost layer of the app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        asked = request.headers.get("x-request-id", "")
        request.state.request_id = asked if _REQUEST_ID.fullmatch(asked) else new_id()

        async def send_bound(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request.state.request_id
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                # What somebody may see is theirs alone: no cache on the way keeps it.
                headers.setdefault("cache-control", "no-store")
            await send(message)

        if request.method not in SAFE and not is_same_site(request):
            refused = response_of(request, Problem("cross-site", "a page of another site sent this"))
            await refused(scope, receive, send_bound)
            return
        began, left = False, MOST_BYTES

        async def receive_bounded() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise Problem("too-large", f"a body has at most {MOST_BYTES} bytes")
            return message

        async def send_noted(message: Message) -> None:
            nonlocal began
            began = True
            await send_bound(message)

        try:
            await self._app(scope, receive_bounded, send_noted)
        except Exception as error:
            if began:
                raise  # the answer is cut off, which is all that can be told by now
            answer = await problem_response(request, error)
            await answer(scope, receive, send_bound)


def is_same_site(request: Request) -> bool:
    """Tell whether one of our own pages sent this, or something that is no browser."""
    fetch_site = request.headers.get("sec-fetch-site")
    if fetch_site is not None:
        return fetch_site in ("same-origin", "none")
    origin = request.headers.get("origin")
    if origin is None:
        return True
    # Its host and port alone: behind a proxy that ends TLS the scheme is not the one that the browser sees.
    return urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()
