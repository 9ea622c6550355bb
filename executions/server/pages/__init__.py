"""The console: pages that work as they come from the server, and forms that lead from one to the next."""

from __future__ import annotations

from fastapi import APIRouter

from executions.server.pages import (
    acting,
    audit,
    bulk,
    choices,
    detail,
    editing,
    failures,
    files,
    fleet,
    launching,
    listing,
    logs,
    overview,
    services,
    views,
)

router = APIRouter(include_in_schema=False)

# In this order: what is called `new` or `rows` is no execution's id.
for _part in (
    overview, listing, bulk, launching, detail, acting, editing, logs, failures, views, services, fleet, audit, choices,
    files,
):  # fmt: skip
    router.include_router(_part.router)
