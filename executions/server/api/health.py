"""Whether the server lives, and whether it can do its work."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from executions.server.api.schema import told
from executions.server.security.require import client_of

router = APIRouter(tags=["health"])

#: What everybody may ask.
OPEN: dict[str, Any] = {"security": []}


class Health(BaseModel):
    """It answers."""

    status: Literal["ok"] = "ok"


@router.get("/healthz", openapi_extra=OPEN)
async def alive() -> Health:
    """Tell that this process answers. It asks nobody else."""
    return Health()


@router.get("/readyz", openapi_extra=OPEN, responses={503: told(503)})
def ready(request: Request) -> Health:
    """Tell whether the registry answers this process."""
    client_of(request).ping()
    return Health()
