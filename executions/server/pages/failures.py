"""Failures put together by what went wrong, as far back as one look reaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Request, Response

from executions.client import Client
from executions.execution import Execution
from executions.server.pages.site import PageRoute, render
from executions.server.security.require import Viewing

router = APIRouter(route_class=PageRoute, include_in_schema=False)

#: The newest failures that are looked at; the page says so where there are more.
LOOK = 500

#: Bars of the small chart of a group.
_BARS = 24


@dataclass(frozen=True)
class Group:
    """Failures of one kind."""

    key: str
    type: str
    message: str
    frame: str
    functions: tuple[str, ...]
    items: tuple[Execution, ...]
    bars: tuple[float, ...]

    @property
    def newest(self) -> Execution:
        """The last of them."""
        return self.items[0]

    @property
    def oldest(self) -> Execution:
        """The first of them that is looked at."""
        return self.items[-1]


@router.get("/failures")
def failures(request: Request, client: Viewing) -> Response:
    """List the groups, the most frequent first."""
    total = client.executions.facets(by=("status",))["status"].get("failed", 0)
    items, groups = groups_of(client)
    return render(request, "failures.html", groups=groups, looked=len(items), total=total)


def groups_of(
    client: Client, query: str = "status:failed", most: int = LOOK
) -> tuple[Sequence[Execution], list[Group]]:
    """Read the newest failures and put together those that are of one kind."""
    items = client.executions.list(query, sort="-finished", limit=most).items
    if not items:
        return items, []
    by_kind: dict[str, list[Execution]] = {}
    for one in items:
        by_kind.setdefault(_kind(one), []).append(one)
    begin, end = _ended(items[-1]), _ended(items[0])
    groups = [_group(key, found, begin, end) for key, found in by_kind.items()]
    return items, sorted(groups, key=lambda group: -len(group.items))


def _kind(execution: Execution) -> str:
    error = execution.error
    if error is None:
        return f"{execution.reason}"
    return error.fingerprint or f"{error.type}: {execution.function}"


def _group(key: str, items: list[Execution], begin: float, end: float) -> Group:
    error = items[0].error
    counts = [0] * _BARS
    for one in items:
        share = (_ended(one) - begin) / (end - begin) if end > begin else 1.0
        counts[min(_BARS - 1, int(share * _BARS))] += 1
    high = max(counts)
    return Group(
        key,
        error.type if error else items[0].reason.value,
        (error.message if error else "") or items[0].message,
        (error.frame if error else None) or "",
        tuple(dict.fromkeys(one.function for one in items)),
        tuple(items),
        tuple(100 * count / high for count in counts),
    )


def _ended(execution: Execution) -> float:
    at: datetime | None = execution.finished or execution.created
    return at.timestamp() if at else 0.0
