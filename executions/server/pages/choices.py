"""What a person chose for this browser: the theme, the columns and the size of lists."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from executions.columns import parse_columns
from executions.errors import InvalidInput
from executions.server.addresses import address
from executions.server.pages.asked import COLUMNS_COOKIE, LIMIT_COOKIE
from executions.server.pages.site import THEMES, PageRoute, Sent, back_to, redirect

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_YEAR_S = 365 * 86_400

#: Characters of a cookie that browsers take.
_LONGEST = 3500


@router.post("/theme")
def theme(request: Request, sent: Sent) -> Response:
    """Keep the theme in a cookie, so that the first byte of a page has it already."""
    answer = redirect(request, back_to(request, sent.get("back"), "/"))
    if sent.get("theme") in THEMES:
        answer.set_cookie("theme", sent["theme"], max_age=_YEAR_S, path=address(request, "/"), samesite="lax")
    else:
        answer.delete_cookie("theme", path=address(request, "/"))
    return answer


@router.post("/columns")
def columns(request: Request, sent: Sent) -> Response:
    """Keep columns and size of lists in cookies; without columns, forget them."""
    answer = redirect(request, back_to(request, sent.get("back"), "/executions"), done="columns")
    names, path = parse_columns(sent.text("columns")), address(request, "/")
    if len(quote(",".join(names))) > _LONGEST:
        raise InvalidInput("a browser does not remember so many long names; keep them in a view")
    for name, value in ((COLUMNS_COOKIE, quote(",".join(names))), (LIMIT_COOKIE, sent.text("limit") if names else "")):
        if value:
            answer.set_cookie(name, value, max_age=_YEAR_S, path=path, samesite="lax")
        else:
            answer.delete_cookie(name, path=path)
    return answer
