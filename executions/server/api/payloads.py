"""Inputs and outputs as files: a link that whoever has it may use for a while, and what is behind it."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from typing import Annotated, Literal
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field

from executions.client.payloads import LASTS_S, LONGEST_S, Link
from executions.errors import Conflict
from executions.server.addresses import address
from executions.server.api.executions import Id
from executions.server.api.schema import CONFLICT, PROBLEMS, told
from executions.server.audit import note
from executions.server.problems import Problem
from executions.server.security.require import Viewing, client_of

router = APIRouter(prefix="/api/v1", tags=["payloads"], responses=PROBLEMS)

Which = Literal["input", "output"]

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class PayloadLink(BaseModel):
    """A link to a payload."""

    url: str = Field(description="Its path with its query; it needs no token.")
    expires: datetime


@router.get(
    "/executions/{execution_id}/payloads/{which}",
    response_model=PayloadLink,
    responses={303: {"description": "With `follow`: to the link."}, **CONFLICT},
)
def make_payload_link(
    request: Request,
    client: Viewing,
    execution_id: Id,
    which: Which,
    lasts: Annotated[int, Query(ge=1, le=LONGEST_S, description="Seconds that the link holds.")] = LASTS_S,
    follow: Annotated[bool, Query(description="Whether to be sent on to it at once.")] = False,
) -> PayloadLink | Response:
    """Make a link to the inputs or the output, for a while and for whoever has it. Needs `view`."""
    link = client.payloads.link(execution_id, which, lasts)
    note(request, client, f"{which}, {lasts} s")
    url = _address(request, link)
    return RedirectResponse(url, 303) if follow else PayloadLink(url=url, expires=link.expires_at)


@router.get(
    "/payloads/{execution_id}/{which}",
    response_class=Response,
    responses={
        200: {"content": {"application/json": {"schema": {}}}},
        206: {"description": "The piece that `Range` asks for."},
        410: told(410),
        416: told(416),
        **CONFLICT,
    },
)
def read_payload(
    request: Request,
    execution_id: Id,
    which: Which,
    expires: Annotated[int, Query(ge=0, le=10**11)],
    signature: Annotated[str, Query(max_length=100)],
    attempt: Annotated[int, Query(ge=0, le=10**9)] = 0,
    range: Annotated[str | None, Header()] = None,
    if_range: Annotated[str | None, Header()] = None,
) -> Response:
    """Give the inputs or the output that a link was made for; ranges are taken. Whoever has the link may."""
    payloads = client_of(request).payloads
    try:
        payloads.check(Link(execution_id, which, attempt, expires, signature))
    except Conflict as error:
        raise Problem("link-over", str(error)) from error
    data = payloads.read(execution_id, which, attempt or None).encode()
    tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": tag,
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(execution_id[:100], safe='')}-{which}.json",
        "Cache-Control": "private, no-store",
    }
    piece = _piece(range, len(data)) if range and if_range in (None, tag) else None
    if piece is None:
        return Response(data, media_type="application/json", headers=headers)
    first, last = piece
    if first >= len(data):
        raise Problem("no-such-range", f"it has {len(data)} bytes", headers={"Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
    return Response(data[first : last + 1], 206, headers, "application/json")


def _address(request: Request, link: Link) -> str:
    path = f"/api/v1/payloads/{quote(link.execution_id, safe='')}/{link.which}"
    asked = {"attempt": link.attempt, "expires": link.expires, "signature": link.signature}
    return f"{address(request, path)}?{urlencode(asked)}"


def _piece(text: str, size: int) -> tuple[int, int] | None:
    """Read which bytes are asked for, the first and the last; `None` for what is answered with all of it."""
    found = _RANGE.fullmatch(text.strip())
    if found is None or found[1] == found[2] == "":
        return None
    if not found[1]:
        return max(0, size - int(found[2])) if int(found[2]) else size, size - 1
    first, last = int(found[1]), min(int(found[2] or size - 1), size - 1)
    return None if found[2] and int(found[2]) < first else (first, last)
