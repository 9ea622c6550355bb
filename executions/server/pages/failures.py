"""Failures put together by what went wrong, as far back as one look reaches."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from fastapi import APIRouter, Request, Response

from executions.client.failures import FailureGroup
from executions.execution import Execution
from executions.server.pages.site import PageRoute, render
from executions.server.security.require import Viewing

router = APIRouter(route_class=PageRoute, include_in_schema=False)

#: Bars of the small chart of a group.
_BARS = 24


@router.get("/failures")
def failures(request: Request, client: Viewing) -> Response:
    """List the groups, the most frequent first."""
    total = client.executions.facets(by=("status",))["status"].get("failed", 0)
    found = client.executions.failures()
    span = (_ended(found.items[-1]), _ended(found.items[0])) if found.items else (0.0, 0.0)
    return render(
        request, "failures.html", groups=found.groups, looked=len(found.items), total=total,
        bars_of=partial(bars_of, span=span),
    )  # fmt: skip


def bars_of(group: FailureGroup, span: tuple[float, float]) -> list[float]:
    """Give the heights of a group's bars, in percent of the highest: how many there were over the span."""
    begin, end = span
    counts = [0] * _BARS
    for one in group.items:
        share = (_ended(one) - begin) / (end - begin) if end > begin else 1.0
        counts[min(_BARS - 1, int(share * _BARS))] += 1
    return [100 * count / max(counts) for count in counts]


def _ended(execution: Execution) -> float:
    at: datetime | None = execution.finished or execution.created
    return at.timestamp() if at else 0.0
