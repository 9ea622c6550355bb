"""Why a pending execution does not run yet, as far as anybody can tell from here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from executions.client import Client
from executions.errors import ExecutionsError, NotFound
from executions.execution import Execution
from executions.server.pages.search import term
from executions.server.pages.words import ago, some, utc
from executions.states import Reason, Status


def why_waiting(client: Client, execution: Execution) -> Sequence[str]:
    """Say what it waits for; nothing where it does not wait."""
    if execution.status is not Status.PENDING:
        return ()
    try:
        return list(_reasons(client, execution))
    except ExecutionsError as error:
        return [f"It cannot be told now: {error}."]


def _reasons(client: Client, execution: Execution) -> Iterator[str]:
    if execution.eta and execution.reason in (Reason.SCHEDULED, Reason.RETRYING):
        what = "The next attempt starts" if execution.reason is Reason.RETRYING else "It is scheduled to start"
        yield f"{what} {ago(execution.eta)}, at {utc(execution.eta)}."
    of_service = list(_service(client, execution.service)) if execution.service else []
    yield from of_service
    if execution.reason is Reason.WAITING and execution.message and not of_service:
        yield f"{execution.message[:1].upper()}{execution.message[1:].rstrip('.')}."
    yield from _workers(client, execution)
    if position := client.queues.position(execution):
        said = str(position)
        yield f"{said[:1].upper()}{said[1:]}."


def _service(client: Client, name: str) -> Iterator[str]:
    try:
        service = client.services.get(name)
    except NotFound:
        return
    if service.paused:
        yield f"Service {name} is paused; nothing of it starts until it is resumed."
    if service.concurrency:
        running = client.executions.count(f"{term('service', name)} AND status:running")
        if running >= service.concurrency:
            yield f"Service {name} runs {running} of at most {service.concurrency} executions."


def _workers(client: Client, execution: Execution) -> Iterator[str]:
    alive = [worker for worker in client.workers.list() if worker.alive]
    queue = execution.queue
    there = [worker for worker in alive if queue is None or queue in (worker.facts.get("queues") or ())]
    taking = [worker for worker in there if not worker.facts.get("draining")]
    if not alive:
        yield "No worker is alive."
    elif not there:
        yield f"No worker that is alive consumes queue {queue}; {some(len(alive), 'other does', 'others do')} not."
    elif not taking:
        yield f"Every worker of queue {queue} is draining and takes nothing new."
    else:
        busy = sum(int(worker.facts.get("running") or 0) for worker in taking)
        slots = sum(int(worker.facts.get("concurrency") or 0) for worker in taking)
        state = "all busy" if slots and busy >= slots else f"{busy} busy"
        who = some(len(taking), "worker takes", "workers take")
        yield f"{who} from this queue, with {some(slots, 'slot')}, {state}."
