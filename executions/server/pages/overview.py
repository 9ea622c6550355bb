"""The first page: what needs a person now, and how much is going on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response

from executions.client import Client
from executions.client.health import State
from executions.queue import Queue, most_waiting
from executions.server.charts import Chart, Series
from executions.server.pages.asked import Asked
from executions.server.pages.listing import count_of
from executions.server.pages.search import term
from executions.server.pages.site import PageRoute, link, render
from executions.server.pages.words import ago, now, rough, share, some, status_word, utc
from executions.server.security.require import Viewing
from executions.states import Status
from executions.stats import Stats

router = APIRouter(route_class=PageRoute, include_in_schema=False)

#: How far back failures are news, and how many of them are looked at.
NEWS = "-24h"
_FAILURES = 200

#: Executions shown of those that run.
_RUNNING = 8

#: Seconds after which something that waits although workers are there is worth a word.
_LONG_S = 600.0

_ALL = {1: "the one worker is", 2: "both workers are"}

#: Checks whose subject has a place of its own in the list.
_OWN_PLACE = ("workers", "lost workers")


@dataclass(frozen=True)
class Need:
    """One thing that somebody should look at, and where."""

    weight: str
    title: str
    detail: str
    url: str
    button: str


@router.get("/")
def overview(request: Request, client: Viewing) -> Response:
    """Show it."""
    counts = client.executions.facets(by=("status",))["status"]
    workers = client.workers.list()
    queues = most_waiting(client.queues.list())
    needs = sorted(_needs(client, workers, queues), key=lambda need: need.weight != "bad")
    running = client.executions.list("status:running", sort="started", limit=_RUNNING).items
    counted = client.executions.facets(f"finished:>={NEWS}", by=("status",), exact=False)["status"]
    day = {status: count_of(counted, status) for status in counted}
    return render(
        request,
        "overview.html",
        counts={status: counts.get(status, 0) for status in Status},
        day=day,
        over=charts_of(client.executions.stats(since=NEWS, step="30m")),
        needs=needs,
        running=running,
        queues=queues,
        alive=[one for one in workers if one.alive],
        about=counted.estimated,
        health=_sentence(workers, queues, day),
        asked=Asked(),
    )


def charts_of(stats: Stats) -> tuple[Chart, ...]:
    """Draw up how the last hours went; nothing where nothing ended."""
    if not stats.total.ended:
        return ()
    steps = stats.steps
    labels = [utc(step.since, "minutes").removesuffix(" UTC")[11:] for step in steps]
    ended = [
        Series(status_word(status).lower(), f"b-{status}", [step.finished.get(status, 0) for step in steps])
        for status in (Status.SUCCESS, Status.CACHED, Status.TERMINATED, Status.FAILED)
        if stats.total.finished.get(status)
    ]
    about = "" if stats.complete else f"Estimated from {stats.scanned:,} records. "
    word = "" if stats.complete else ", estimated"
    most = max(step.ended for step in steps)
    return (
        Chart(
            "ended", f"Ended each half hour{word}", f"{about}{stats.total.ended:,} in all, {most:,} at most.",
            labels, ended,
        ),
        Chart(
            "success", f"Success{word}", f"{about}{share(stats.total.success_rate)} of those that ended in 24 hours.",
            labels, [Series("of those that ended", "b-success", [step.success_rate for step in steps])], "%",
            f"{share(stats.total.success_rate)} in all",
        ),
    )  # fmt: skip


def _needs(client: Client, workers: list[Any], queues: list[Queue]) -> Iterator[Need]:
    yield from _fleet(workers, queues)
    for check in client.health():
        if check.state is not State.OK and check.name not in _OWN_PLACE:
            weight = "bad" if check.state is State.FAIL else "odd"
            yield Need(weight, f"{check.name.capitalize()}: {check.found}", check.advice, "", "")
    for service in client.services.list():
        if service.paused:
            waiting = client.executions.count(f"{term('service', service.name)} AND status:pending")
            yield Need(
                "odd", f"Service {service.name} is paused", f"{some(waiting, 'execution')} waiting for it",
                f"/services/{service.name}", "Open",
            )  # fmt: skip
    for group in client.executions.failures(f"finished:>={NEWS}", most=_FAILURES).groups[:5]:
        many = len(group.items)
        url = link(f"/executions/{group.newest.id}", **{"in": "status:failed"})
        yield Need(
            "bad", f"{group.type}: {group.message}" if group.message else group.type,
            f"{some(many, 'failure')} of {', '.join(group.functions[:2])}, the last {ago(group.newest.finished)}",
            "/failures" if many > 1 else url, "See all" if many > 1 else "Debug",
        )  # fmt: skip


def _fleet(workers: list[Any], queues: list[Queue]) -> Iterator[Need]:
    for worker in workers:
        if worker.state in ("lost", "stalled"):
            what = "no longer beats" if worker.state == "lost" else "beats, but takes no work"
            yield Need("bad", f"Worker {worker.name} is {worker.state}", f"It {what}.", "/workers", "Look")
    for queue in queues:
        url = link("/executions", q=f"{term('queue', queue.name)} AND status:pending")
        if queue.pending and not queue.workers:
            waiting = some(queue.pending, "execution waits", "executions wait")
            yield Need("bad", f"No worker takes from queue {queue.name}", f"{waiting} there.", url, "See them")
        elif queue.oldest is not None and (age := _age(queue)) > _LONG_S:
            yield Need("odd", f"Queue {queue.name} is slow", f"The oldest waits since {rough(age)}.", url, "See them")


def _age(queue: Queue) -> float:
    return 0.0 if queue.oldest is None else (now() - queue.oldest).total_seconds()


def _sentence(workers: list[Any], queues: list[Queue], day: Any) -> str:
    alive = [one for one in workers if one.alive]
    fleet = "no worker is alive" if not alive else some(len(alive), "worker is alive", "workers are alive")
    if alive and len(alive) == len(workers):
        fleet = f"{_ALL.get(len(alive), f'all {len(alive):,} workers are')} alive"
    waiting = sum(queue.pending for queue in queues)
    failed = day.get("failed", 0)
    parts = [
        some(failed, "execution failed", "executions failed") + " in the last 24 hours"
        if failed
        else "no failures in 24 hours",
        f"{waiting:,} waiting" if waiting else "nothing waits",
        fleet,
    ]
    text = ", ".join(parts)
    return text[:1].upper() + text[1:] + "."
