"""What goes wrong, as RFC 9457 problems: the list of all kinds, and how each error becomes one.

The `type` of a problem is the address of a page that says what it means and what to do.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from executions import errors
from executions.server.addresses import address, base_of, path_of
from executions.server.html import document
from executions.telemetry import log

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

#: Seconds after which a client may try again where the registry was away.
RETRY_S = 2


@dataclass(frozen=True)
class Kind:
    """One kind of problem."""

    status: int
    title: str
    #: What it means, and what to do.
    about: str


KINDS: dict[str, Kind] = {
    "not-found": Kind(
        404, "There is no such thing", "The address, or the id in it, leads nowhere. An execution is removed when its "
        "retention is over, and then its id is unknown as well."
    ),
    "method-not-allowed": Kind(
        405, "Not with this method", "The address is there, but not with this method; the header Allow names those "
        "that it takes."
    ),
    "invalid-query": Kind(
        422, "The query cannot be read", "A query, an order or a cursor was not understood. `errors` has the place in "
        "the query's text. A cursor goes with the query and the order that it was handed out for."
    ),
    "validation": Kind(
        422, "The request is not valid", "A parameter, or a field of the body, is missing or has a wrong value; "
        "`errors` names each with its place."
    ),
    "invalid-transition": Kind(
        409, "Not in this state", "What was asked for does not go with the state that the thing is in. Read it again, "
        "and decide anew."
    ),
    "idempotency-conflict": Kind(
        409, "The key was used for something else", "An Idempotency-Key was sent before with another request. Take a "
        "new key for each new request."
    ),
    "changed": Kind(
        412, "It has changed meanwhile", "It is not any more what you have read: somebody, or the execution itself, "
        "changed it since. Nothing was written. Read it again, and send your change with its new ETag."
    ),
    "too-large": Kind(413, "The request is too large", "The body is larger than is accepted."),
    "head-too-large": Kind(
        431, "The address is too long", "The address and the headers are together larger than is accepted. Save the "
        "query as a view, or send what is long in a body."
    ),
    "malformed": Kind(400, "This is no HTTP", "What was sent cannot be read as a request."),
    "unauthenticated": Kind(
        401, "Who are you?", "Nobody is known to ask. Send `Authorization: Bearer` with a token, which an "
        "administrator makes with `executions token create`, or sign in."
    ),
    "forbidden": Kind(403, "Not for you", "Your role is not enough for this. The roles are view, operate and admin."),
    "link-over": Kind(
        410, "This link is over", "A link to inputs or an output holds for a while, and for nothing but what it was "
        "made for. Make another one, on the page of the execution or through the API."
    ),
    "no-such-range": Kind(416, "There is no such piece", "The piece that Range asks for lies behind the end."),
    "cross-site": Kind(
        403, "It came from another site", "A page of another site sent this, and what changes something is taken from "
        "this site's own pages and from programs only."
    ),
    "too-many-requests": Kind(429, "Too many tries", "There were too many tries. Wait; Retry-After says how long."),
    "payload-missing": Kind(
        503, "A large value is out of reach", "It lies in a payload store that the server's process cannot read. Give "
        "it the same EXECUTIONS_PAYLOADS as the workers."
    ),
    "store-unavailable": Kind(
        503, "The registry is away", "The registry's server, or the broker, does not answer. Nothing is lost; try "
        "again when Retry-After is over."
    ),
    "internal": Kind(
        500, "This should not have happened", "It is a fault of ours. The server's log has more; look there for the "
        "request id, which is the problem's `instance`."
    ),
}  # fmt: skip


class Problem(Exception):
    """A problem that is told as it is."""

    def __init__(
        self, slug: str, detail: str = "", *, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(slug, detail)
        self.slug = slug
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members

    @property
    def kind(self) -> Kind:
        return KINDS[self.slug]


#: The narrower kinds come first.
_BY_KIND = (
    (errors.PayloadMissing, "payload-missing"),
    (errors.NotFound, "not-found"),
    (errors.Changed, "changed"),
    (errors.Conflict, "invalid-transition"),
)


def problem_of(error: Exception) -> Problem:
    """Say what kind of problem an error is."""
    match error:
        case Problem():
            return error
        case errors.InvalidQuery():
            place = {"loc": ["query", "q"], "msg": error.message, "position": error.position}
            return Problem("invalid-query", str(error), errors=[place])
        case errors.InvalidInput():
            return Problem("validation", str(error), errors=[])
        case errors.PayloadMissing() | errors.NotFound() | errors.Conflict():
            return Problem(next(slug for kind, slug in _BY_KIND if isinstance(error, kind)), str(error))
        case errors.Unavailable() | errors.Unsupported():
            return Problem("store-unavailable", str(error), headers={"Retry-After": str(RETRY_S)})
        case RequestValidationError():
            places = [{"loc": list(one["loc"]), "msg": one["msg"], "position": None} for one in error.errors()]
            return Problem("validation", "; ".join(_told(one) for one in places), errors=places)
        case HTTPException():
            return _of_http(error)
        case UnicodeError():
            return Problem(
                "validation", "there is text that is no Unicode, half of a surrogate pair perhaps", errors=[]
            )
        case RecursionError():
            return Problem("validation", "there is a value that is nested too deeply", errors=[])
    return Problem("internal", "an error that nobody expected; the server's log has it")


def _told(place: Mapping[str, Any]) -> str:
    return f"{'.'.join(str(part) for part in place['loc'])}: {place['msg']}"


def _of_http(error: HTTPException) -> Problem:
    by_status = {404: "not-found", 405: "method-not-allowed", 413: "too-large"}
    slug = by_status.get(error.status_code, "validation" if error.status_code < 500 else "internal")
    return Problem(slug, error.detail, headers=error.headers)


def response_of(request: Request, problem: Problem) -> Response:
    """Tell a problem: to a program as JSON, to a person as a page, and to nobody by way of the sign-in."""
    kind = problem.kind
    if _wants_page(request):
        if problem.slug == "unauthenticated" and request.method == "GET":
            here = address(request, path_of(request)) + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(address(request, f"/login?next={quote(here, safe='')}"), 303)
        told = f"<h1>{escape(kind.title)}</h1><p>{escape(problem.detail)}</p>{_about(kind)}"
        return HTMLResponse(document(kind.title, told, base_of(request)), kind.status, problem.headers)
    return JSONResponse(
        {
            "type": address(request, f"/problems/{problem.slug}"),
            "title": kind.title,
            "status": kind.status,
            "detail": problem.detail,
            "instance": getattr(request.state, "request_id", ""),
            **problem.members,
        },
        kind.status,
        problem.headers,
        MEDIA_TYPE,
    )


def _wants_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "") and not _is_for_programs(path_of(request))


def _is_for_programs(path: str) -> bool:
    # Links to payloads are given to people.
    return path.startswith("/api/") and not path.startswith("/api/v1/payloads/")


def _about(kind: Kind) -> str:
    return f"<p>{escape(kind.about)}</p>"


def page_of(slug: str, base: str = "") -> str | None:
    """Give the page that says what a kind of problem means."""
    kind = KINDS.get(slug)
    if kind is None:
        return None
    told = f"<h1>{escape(kind.title)}</h1><p><code>{slug}</code>, status {kind.status}</p>{_about(kind)}"
    return document(kind.title, told, base)


async def problem_response(request: Request, error: Exception) -> Response:
    """Tell of an error; one that nobody expected is logged."""
    problem = problem_of(error)
    if problem.slug == "internal":
        log(logger, "server.failed", request=getattr(request.state, "request_id", ""), error=error, exc_info=error)
    return response_of(request, problem)


def install(app: FastAPI) -> None:
    """Have every error of the app told as a problem."""
    for kind in (errors.ExecutionsError, RequestValidationError, HTTPException, Problem):
        app.add_exception_handler(kind, problem_response)
