"""The REST API: one module for each subject, all below `/api/v1`."""

from __future__ import annotations

from fastapi import APIRouter

from executions.server.api import executions, health
from executions.server.api.schema import PROBLEMS

router = APIRouter()
_v1 = APIRouter(prefix="/api/v1", responses=PROBLEMS)
for _part in (executions,):
    _v1.include_router(_part.router)
router.include_router(_v1)
router.include_router(health.router)
