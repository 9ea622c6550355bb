"""The audit log, for administrators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from executions.server.pages.site import PageRoute, render
from executions.server.security.require import Administering

router = APIRouter(route_class=PageRoute, include_in_schema=False)

#: Entries of a page.
_SIZE = 100


@router.get("/audit")
def audit(
    request: Request,
    client: Administering,
    who: Annotated[str, Query(max_length=100)] = "",
    cursor: Annotated[str, Query(max_length=50)] = "",
) -> Response:
    """List what was done, and what was refused, by everybody or by one."""
    found = client.audit.list(_SIZE + 1, cursor or None, who.strip())
    older = found[_SIZE - 1].cursor if len(found) > _SIZE else ""
    return render(request, "audit.html", entries=found[:_SIZE], by=who.strip(), cursor=cursor, older=older)
