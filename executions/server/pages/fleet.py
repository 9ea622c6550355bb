"""The workers and the queues: who is there to run something, and what waits for whom."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from executions.client import Client
from executions.queue import most_waiting
from executions.server.audit import describe
from executions.server.pages.site import PageRoute, Sent, redirect, render
from executions.server.security.require import Operating, Viewing

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/workers")
def workers(request: Request, client: Viewing) -> Response:
    """List the workers, those alive first."""
    return render(request, "workers.html", workers=client.workers.list())


@router.post("/workers/drain", name="drain_worker")
def drain(request: Request, client: Operating, sent: Sent) -> Response:
    """Have a worker take nothing new."""
    describe(request, sent.text("name"))
    client.workers.drain(sent.text("name"))
    return redirect(request, "/workers", done="drain")


@router.post("/workers/resume", name="resume_worker")
def undrain(request: Request, client: Operating, sent: Sent) -> Response:
    """Have a worker take work again."""
    describe(request, sent.text("name"))
    client.workers.resume(sent.text("name"))
    return redirect(request, "/workers", done="undrain")


@router.get("/queues")
def queues(request: Request, client: Viewing) -> Response:
    """List the queues, those where something waits first."""
    return render(request, "queues.html", queues=most_waiting(client.queues.list()), slots=slots_of(client))


def slots_of(client: Client) -> dict[str, int]:
    """Give how many executions can run at once of each queue."""
    found: dict[str, int] = {}
    for worker in client.workers.list():
        for name in worker.facts.get("queues") or () if worker.alive else ():
            found[name] = found.get(name, 0) + int(worker.facts.get("concurrency") or 0)
    return found
