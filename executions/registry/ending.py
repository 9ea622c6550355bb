"""How an attempt ends, as the scripts write it and as those who wait get to know it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from executions.states import Reason, Status


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How an attempt ended: the fields to write and what to tell those who wait."""

    status: Status
    reason: Reason = Reason.NONE
    message: str = ""
    principal: str = ""
    #: The result as Celery's clients read it: the output, or the error, as JSON.
    result: str = "null"
    traceback: str = "null"
    children: str = "[]"
    fields: tuple[Any, ...] = ()


#: What those who wait for a terminated execution get to see, as Celery writes it.
REVOKED_RESULT = json.dumps(
    {"exc_type": "TaskRevokedError", "exc_message": ["terminated"], "exc_module": "celery.exceptions"}
)


def expired(message: str) -> Ending:
    """Give the end of an execution whose time to start was over before it started."""
    return Ending(
        status=Status.TERMINATED,
        reason=Reason.EXPIRED,
        message=message,
        result=REVOKED_RESULT,
        fields=("er", REVOKED_RESULT),
    )
