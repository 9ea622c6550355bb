"""What Prometheus reads. Labels are of fields with few values, and each family has at most so many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse

from executions.client import Client
from executions.clock import SYSTEM_CLOCK
from executions.server.api.schema import PROBLEMS
from executions.server.security.require import Viewing
from executions.states import Status

router = APIRouter(tags=["health"], responses=PROBLEMS)

#: Queues, and workers, that are told of.
MOST = 100

_Sample = tuple[dict[str, str], float]


@router.get("/metrics", response_class=PlainTextResponse)
def prometheus(request: Request, client: Viewing) -> PlainTextResponse:
    """Give the numbers of the fleet in Prometheus' text format. Needs `view`."""
    families = chain(_families(client), _own(request.app.state.live.streams))
    lines = [line for name, kind, about, samples in families for line in _told(name, kind, about, samples)]
    return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4; charset=utf-8")


def _families(client: Client) -> Iterator[tuple[str, str, str, list[_Sample]]]:
    now = SYSTEM_CLOCK.now()
    by_status = client.executions.facets(by=("status",))["status"]
    yield (
        "executions_count", "gauge", "Executions on record, by status.",
        [({"status": status}, by_status.get(status, 0)) for status in Status],
    )  # fmt: skip
    workers = client.workers.list()[:MOST]
    yield (
        "executions_worker_up",
        "gauge",
        "Whether the worker's lease stands.",
        [({"worker": worker.name}, float(worker.alive)) for worker in workers],
    )
    yield (
        "executions_worker_running",
        "gauge",
        "Functions that run in the worker.",
        [({"worker": worker.name}, float(worker.facts.get("running") or 0)) for worker in workers if worker.alive],
    )
    queues = client.queues.list()[:MOST]
    yield (
        "executions_queue_pending",
        "gauge",
        "Executions that wait in the queue.",
        [({"queue": queue.name}, queue.pending) for queue in queues],
    )
    yield (
        "executions_queue_oldest_age_seconds",
        "gauge",
        "Age of the oldest that waits in the queue.",
        [({"queue": queue.name}, max(0.0, now - queue.oldest.timestamp())) for queue in queues if queue.oldest],
    )
    yield (
        "executions_registry_round_trip_seconds",
        "gauge",
        "Time that the registry took to answer.",
        [({}, client.ping())],
    )


def _own(streams: int) -> Iterator[tuple[str, str, str, list[_Sample]]]:
    yield "executions_streams", "gauge", "Streams of events that this process has open.", [({}, streams)]


def _told(name: str, kind: str, about: str, samples: Iterable[_Sample]) -> Iterator[str]:
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        words = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"{name}{{{words}}} {value:g}" if words else f"{name} {value:g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
