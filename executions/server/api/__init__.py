"""The REST API: one module for each subject, all below `/api/v1` but for what stands in for another server."""

from __future__ import annotations

from executions.server.api import (
    acting,
    audit,
    bulk,
    cmf,
    editing,
    executions,
    exports,
    fleet,
    health,
    logs,
    payloads,
    people,
    prometheus,
    reference,
    services,
    views,
)

#: In the order in which addresses are compared: what is named comes before what takes any id.
PARTS = (
    health, prometheus, reference, bulk, exports, executions, payloads, logs, acting, editing, views, services, fleet,
    people, audit, cmf,
)  # fmt: skip

ROUTERS = tuple(part.router for part in PARTS)
