"""The fleet: workers, the queues that they serve, the functions that they know."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from executions.errors import NotFound
from executions.function import Function
from executions.queue import Queue
from executions.server.api.schema import CONFLICT, PROBLEMS
from executions.server.security.require import Operating, Viewing

if TYPE_CHECKING:
    from executions.registry.workers import WorkerInfo

router = APIRouter(prefix="/api/v1", tags=["fleet"], responses=PROBLEMS)

Name = Annotated[str, Path(max_length=300)]


class Worker(BaseModel):
    """A worker, as it describes itself."""

    name: str
    term: str
    alive: bool
    lease_ends: datetime | None
    facts: dict[str, Any]

    @classmethod
    def of(cls, worker: WorkerInfo) -> Worker:
        """Take it from a worker."""
        return cls(
            name=worker.name, term=worker.term, alive=worker.alive, lease_ends=worker.lease_ends, facts=worker.facts
        )


class QueueDetail(BaseModel):
    """A queue."""

    name: str
    pending: int
    running: int
    oldest: datetime | None
    workers: list[str]

    @classmethod
    def of(cls, queue: Queue) -> QueueDetail:
        """Take it from a queue."""
        return cls(
            name=queue.name,
            pending=queue.pending,
            running=queue.running,
            oldest=queue.oldest,
            workers=list(queue.workers),
        )


class Parameter(BaseModel):
    """One parameter of a function."""

    name: str
    kind: str
    required: bool
    annotation: str = Field(description="As written; empty where there is none.")
    default: str = Field(description="As written; `...` where it is long or no plain value, empty where there is none.")


class FunctionDetail(BaseModel):
    """A function, as the workers describe it."""

    name: str
    about: str
    parameters: list[Parameter] | None
    policy: dict[str, Any]
    tags: list[str]
    pipeline: str | None
    stage: str | None
    service: str | None
    queue: str | None
    alive: bool
    told: datetime | None
    told_by: str

    @classmethod
    def of(cls, function: Function) -> FunctionDetail:
        """Take it from a function."""
        known = None if function.parameters is None else [vars(one) for one in function.parameters.each]
        names = ("name", "about", "tags", "pipeline", "stage", "service", "queue", "alive", "told", "told_by")
        plain = {name: getattr(function, name) for name in names}
        return cls.model_validate({**plain, "parameters": known, "policy": function.policy.as_dict()})


@router.get("/workers")
def list_workers(client: Viewing) -> list[Worker]:
    """List the workers, those alive first. Needs `view`."""
    return [Worker.of(worker) for worker in client.workers.list()]


@router.get("/workers/{name}")
def get_worker(client: Viewing, name: Name) -> Worker:
    """Give one worker. Needs `view`."""
    return Worker.of(client.workers.get(name))


@router.post("/workers/{name}/drain", status_code=202, responses=CONFLICT)
def drain_worker(client: Operating, name: Name) -> Worker:
    """Have it take nothing new and hand back what it has not started; what runs goes on. Needs `operate`."""
    return Worker.of(client.workers.drain(name))


@router.post("/workers/{name}/resume", status_code=202, responses=CONFLICT)
def resume_worker(client: Operating, name: Name) -> Worker:
    """Have one that drains take work again. Needs `operate`."""
    return Worker.of(client.workers.resume(name))


@router.get("/queues")
def list_queues(client: Viewing) -> list[QueueDetail]:
    """List the queues that something waits in, or that a worker serves. Needs `view`."""
    return [QueueDetail.of(queue) for queue in client.queues.list()]


@router.get("/queues/{name}")
def get_queue(client: Viewing, name: Name) -> QueueDetail:
    """Give one queue. Needs `view`."""
    for queue in client.queues.list():
        if queue.name == name:
            return QueueDetail.of(queue)
    raise NotFound(f"nothing waits in a queue {name!r}, and no worker serves it")


@router.get("/functions")
def list_functions(client: Viewing) -> list[FunctionDetail]:
    """List the functions that workers know, by name. Needs `view`."""
    return [FunctionDetail.of(function) for function in client.functions.list()]


@router.get("/functions/{name}")
def get_function(client: Viewing, name: Name) -> FunctionDetail:
    """Give one function. Needs `view`."""
    return FunctionDetail.of(client.functions.get(name))
