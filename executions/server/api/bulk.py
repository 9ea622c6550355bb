"""One verb for many executions, chosen by a query; first dry, then for good."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from executions.server.api.acting import Body
from executions.server.api.schema import CONFLICT, PROBLEMS, TOO_LARGE
from executions.server.audit import describe
from executions.server.security.require import Operating

router = APIRouter(prefix="/api/v1", tags=["bulk"], responses=PROBLEMS | CONFLICT | TOO_LARGE)

#: Executions that one request acts on at most: it has to end while somebody waits for it.
MOST = 1000


class Bulk(Body):
    """What to do, and to which."""

    action: Literal["terminate", "rerun"]
    q: Annotated[str, Field(min_length=1, max_length=4000, description="A query; nothing is not everything.")]
    dry_run: bool = Field(default=True, description="Only count. It has to be said that it is meant.")
    limit: int = Field(default=MOST, ge=1, le=MOST)
    cause: str = Field(default="", max_length=1000)
    force: bool = False


class BulkDone(BaseModel):
    """What was done, or would be."""

    matched: int = Field(description="Executions that matched and were looked at.")
    done: int
    skipped: int = Field(description="Those for which it goes no more, as they are in another state.")
    dry_run: bool
    more: bool = Field(description="Whether the limit was reached: there may be more, send it again.")


@router.post("/bulk")
def act_on_many(request: Request, client: Operating, body: Bulk) -> BulkDone:
    """Terminate, or rerun, all that match a query; with `dry_run`, only count them. Needs `operate`."""
    describe(request, f"{'dry run of ' if body.dry_run else ''}{body.action} {body.q}")
    if body.action == "terminate":
        report = client.executions.terminate(
            body.q, cause=body.cause, force=body.force, dry_run=body.dry_run, limit=body.limit
        )
    else:
        report = client.executions.rerun(body.q, dry_run=body.dry_run, limit=body.limit)
    return BulkDone(
        matched=report.matched,
        done=report.done,
        skipped=report.skipped,
        dry_run=report.dry_run,
        more=report.done >= body.limit,
    )
