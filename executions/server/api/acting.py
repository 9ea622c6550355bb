"""What can be done to one execution, and the launch of a new one."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from executions.errors import Conflict
from executions.execution import Execution
from executions.server.addresses import address
from executions.server.api.executions import Id
from executions.server.api.models import Summary
from executions.server.api.schema import CONFLICT, PROBLEMS, TOO_LARGE
from executions.server.audit import describe
from executions.server.problems import Problem
from executions.server.security.require import Operating

router = APIRouter(prefix="/api/v1/executions", tags=["executions"], responses=PROBLEMS | CONFLICT | TOO_LARGE)

Word = Annotated[str, Field(min_length=1, max_length=300)]


class Body(BaseModel):
    """A request's body: a field that is not known is a mistake, and is told."""

    model_config = ConfigDict(extra="forbid")


class Launch(Body):
    """A new execution: the function, its inputs, and the options of `Client.submit`."""

    function: Word
    inputs: dict[str, Any] | list[Any] = Field(default={}, description="By name, or by position as a list.")
    name: Word | None = Field(
        default=None, description="Of a name and function there is one execution; again, it is given."
    )
    service: Word | None = None
    queue: Word | None = None
    priority: int | None = Field(default=None, ge=0, le=255)
    eta: datetime | None = None
    countdown: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    expires: datetime | None = None
    execution_timeout: int | None = Field(default=None, ge=1)
    on_reset: str | None = None
    max_attempts: int | None = Field(default=None, ge=1)
    pipeline: Word | None = None
    stage: Word | None = None
    tags: list[Word] = Field(default=[], max_length=100)
    properties: dict[str, Any] = {}


class Stop(Body):
    """Why, and how soon."""

    cause: str = Field(default="", max_length=1000)
    force: bool = Field(default=False, description="Kill it at once.")
    grace: float | None = Field(
        default=None, ge=0, le=86_400, allow_inf_nan=False, description="Seconds from the request to the kill."
    )


class Again(Body):
    """Why."""

    cause: str = Field(default="", max_length=1000)


class Edited(Body):
    """Inputs to change, by name."""

    inputs: dict[str, Any] = {}


@router.post("", status_code=202, responses={202: {"headers": {"Location": {"schema": {"type": "string"}}}}})
def launch_execution(
    request: Request,
    response: Response,
    client: Operating,
    body: Launch,
    idempotency_key: Annotated[
        str | None, Header(min_length=1, max_length=200, description="Sent again with it, nothing is launched twice.")
    ] = None,
) -> Summary:
    """Ask for one run of a function. Needs `operate`."""
    options = body.model_dump(exclude_none=True, exclude={"function"})
    describe(request, body.function)
    try:
        if idempotency_key is None:
            execution = client.submit(body.function, **options)
        else:
            execution = client.submit_once(idempotency_key, body.function, **options)
    except Conflict as error:
        raise Problem("idempotency-conflict", str(error)) from error
    return _accepted(request, response, execution)


@router.post("/{execution_id}/terminate", status_code=202)
def terminate_execution(request: Request, client: Operating, execution_id: Id, body: Stop | None = None) -> Summary:
    """Ask for it to stop; one that has ended stays as it is. Needs `operate`."""
    stop = body or Stop()
    describe(request, stop.cause)
    execution = client.executions.get(execution_id)
    return Summary.of(execution.terminate(cause=stop.cause, force=stop.force, grace=stop.grace))


@router.post("/{execution_id}/rerun", status_code=202)
def rerun_execution(request: Request, client: Operating, execution_id: Id, body: Again | None = None) -> Summary:
    """Run one that has ended once more, under the same id. Needs `operate`."""
    cause = body.cause if body else ""
    describe(request, cause)
    execution = client.executions.get(execution_id)
    try:
        return Summary.of(execution.rerun(cause=cause))
    except Conflict as error:
        raise Problem("invalid-transition", str(error), current_status=execution.status) from error


@router.post(
    "/{execution_id}/relaunch",
    status_code=202,
    responses={202: {"headers": {"Location": {"schema": {"type": "string"}}}}},
)
def relaunch_execution(
    request: Request, response: Response, client: Operating, execution_id: Id, body: Edited | None = None
) -> Summary:
    """Start a new execution with the same inputs, some of them changed. Needs `operate`."""
    inputs = body.inputs if body else {}
    describe(request, f"changed: {', '.join(inputs)}" if inputs else "")
    return _accepted(request, response, client.executions.get(execution_id).relaunch(**inputs))


def _accepted(request: Request, response: Response, execution: Execution) -> Summary:
    response.headers["Location"] = address(request, f"/api/v1/executions/{execution.id}")
    return Summary.of(execution)
