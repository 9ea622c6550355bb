"""The audit log, for administrators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from executions.access import AuditEntry
from executions.server.api.models import Limit
from executions.server.api.schema import PROBLEMS
from executions.server.security.require import Administering

router = APIRouter(prefix="/api/v1", tags=["audit"], responses=PROBLEMS)


class Entries(BaseModel):
    """Entries, the newest first."""

    items: list[AuditEntry]
    next_cursor: str | None


@router.get("/audit")
def list_audit(
    client: Administering,
    limit: Limit = 50,
    cursor: Annotated[str | None, Query(max_length=50, description="`next_cursor` of the page before.")] = None,
    who: Annotated[str, Query(max_length=100, description="What this one did only.")] = "",
) -> Entries:
    """List what was done, and what was refused, the newest first. Needs `admin`."""
    found = client.audit.list(limit, cursor, who)
    more = len(found) == limit
    return Entries(items=found, next_cursor=found[-1].cursor if more else None)
