"""Executions: list them, look at one, wait for it."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response

from executions.server.api.models import Count, Detail, ExecutionPage, Limit, Summary
from executions.server.security.require import Viewing

router = APIRouter(prefix="/executions", tags=["executions"])


@router.get("")
def list_executions(
    request: Request,
    response: Response,
    client: Viewing,
    q: Annotated[str, Query(max_length=4000, description="In the search language, as in `status:failed`.")] = "",
    sort: Annotated[str, Query(max_length=50)] = "-created",
    limit: Limit = 50,
    cursor: Annotated[str | None, Query(max_length=400_000)] = None,
    count: Literal["none", "exact"] = "none",
) -> ExecutionPage:
    """List executions, the newest first unless sorted otherwise. Needs `view`."""
    page = client.executions.list(q or None, sort=sort, limit=limit, cursor=cursor)
    if page.next_cursor:
        again = urlencode([*((k, v) for k, v in request.query_params.multi_items() if k != "cursor"),
                           ("cursor", page.next_cursor)])  # fmt: skip
        response.headers["Link"] = f'<{request.scope.get("root_path", "")}/api/v1/executions?{again}>; rel="next"'
    return ExecutionPage(
        items=[Summary.of(one) for one in page],
        next_cursor=page.next_cursor,
        count=Count(value=client.executions.count(q or None)) if count == "exact" else None,
    )


@router.get("/{execution_id}")
def get_execution(client: Viewing, execution_id: str) -> Detail:
    """Give all that is known of one execution. Needs `view`."""
    return Detail.of(client.executions.get(execution_id))
