"""Services: their policies, their functions, whether they are paused."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, Field

from executions.server.addresses import address
from executions.server.api.acting import Body, Word
from executions.server.api.models import Summary
from executions.server.api.schema import CONFLICT, PROBLEMS, TOO_LARGE
from executions.server.audit import describe
from executions.server.security.require import Administering, Operating, Viewing
from executions.service import Service, ServiceSettings

router = APIRouter(prefix="/api/v1/services", tags=["services"], responses=PROBLEMS)
WRITES = CONFLICT | TOO_LARGE

Name = Annotated[str, Path(max_length=100, description="The service's name.")]


class ServiceDetail(BaseModel):
    """A service."""

    name: str
    id: str
    version: int
    paused: bool
    functions: list[str]
    settings: dict[str, Any]
    updated_by: str
    created: datetime | None
    updated: datetime | None

    @classmethod
    def of(cls, service: Service) -> ServiceDetail:
        """Take it from a service."""
        names = ServiceSettings.__dataclass_fields__
        return cls(
            name=service.name,
            id=service.id,
            version=service.version,
            paused=service.paused,
            functions=list(service.functions),
            settings={name: getattr(service, name) for name in names if getattr(service, name) is not None},
            updated_by=service.updated_by,
            created=service.created,
            updated=service.updated,
        )


class ServiceChange(Body):
    """Settings to change."""

    settings: dict[str, Any] = Field(description="By name, as `deploy` takes them; null is: as without a service.")
    force: bool = Field(default=False, description="End what runs under the old settings at once.")


class Call(Body):
    """A run of one of its functions."""

    function: Word
    inputs: dict[str, Any] | list[Any] = {}


@router.get("")
def list_services(client: Viewing) -> list[ServiceDetail]:
    """List all services by name. Needs `view`."""
    return [ServiceDetail.of(service) for service in client.services.list()]


@router.get("/{name}")
def get_service(client: Viewing, name: Name) -> ServiceDetail:
    """Give one service. Needs `view`."""
    return ServiceDetail.of(client.services.get(name))


@router.patch("/{name}", responses=WRITES)
def change_service(request: Request, client: Administering, name: Name, body: ServiceChange) -> ServiceDetail:
    """Change settings of a service; what runs goes on under the old ones unless forced. Needs `admin`."""
    describe(request, ", ".join(f"{key}={value}" for key, value in body.settings.items()))
    service = client.services.get(name)
    ServiceSettings.parse(body.settings)  # a name that is none is refused before one is written
    for setting, value in body.settings.items():
        setattr(service, setting, value)
    return ServiceDetail.of(service.update(force=body.force))


@router.post("/{name}/pause", responses=WRITES)
def pause_service(client: Operating, name: Name) -> ServiceDetail:
    """Let nothing more of it start; what is submitted waits. Needs `operate`."""
    return ServiceDetail.of(client.services.get(name).pause())


@router.post("/{name}/resume", responses=WRITES)
def resume_service(client: Operating, name: Name) -> ServiceDetail:
    """Let what waits start. Needs `operate`."""
    return ServiceDetail.of(client.services.get(name).resume())


@router.post("/{name}/executions", status_code=202, responses=WRITES)
def call_service(request: Request, response: Response, client: Operating, name: Name, body: Call) -> Summary:
    """Ask for one run of one of its functions. Needs `operate`."""
    describe(request, body.function)
    execution = client.services.get(name).execute(body.function, inputs=body.inputs)
    response.headers["Location"] = address(request, f"/api/v1/executions/{execution.id}")
    return Summary.of(execution)
