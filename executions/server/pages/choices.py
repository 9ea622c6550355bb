"""What a person chose for this browser: the theme."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from executions.server.addresses import address
from executions.server.pages.site import THEMES, PageRoute, Sent, back_to, redirect

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_YEAR_S = 365 * 86_400


@router.post("/theme")
def theme(request: Request, sent: Sent) -> Response:
    """Keep the theme in a cookie, so that the first byte of a page has it already."""
    answer = redirect(request, back_to(request, sent.get("back"), "/"))
    if sent.get("theme") in THEMES:
        answer.set_cookie("theme", sent["theme"], max_age=_YEAR_S, path=address(request, "/"), samesite="lax")
    else:
        answer.delete_cookie("theme", path=address(request, "/"))
    return answer
