"""One execution: what went wrong first, then how it went, what it is, what it was given and what it gave."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from executions.client import Client
from executions.errors import ExecutionsError
from executions.execution import Execution
from executions.server.pages.asked import Asked
from executions.server.pages.comparing import differences_of, last_success, read_inputs
from executions.server.pages.edited import EditForm
from executions.server.pages.search import Search, term
from executions.server.pages.site import PageRoute, link, render
from executions.server.pages.story import bars_of, steps_of
from executions.server.pages.waiting import why_waiting
from executions.server.pages.words import iso, limit, plain
from executions.server.security.require import Viewing
from executions.states import Reason, Status

router = APIRouter(route_class=PageRoute, include_in_schema=False)

#: Executions that this one started, as far as they are listed here.
CHILDREN = 50


@router.get("/executions/{execution_id}")
def detail(request: Request, client: Viewing, execution_id: str) -> Response:
    """Show everything about one execution."""
    return show(request, client, execution_id)


@router.get("/executions/{execution_id}/raw")
def raw(request: Request, client: Viewing, execution_id: str) -> Response:
    """Show the record as one JSON document; `?download` gives it as a file."""
    execution = client.executions.get(execution_id)
    document = document_of(execution)
    if "download" in request.query_params:
        name = f'attachment; filename="execution-{execution.number}.json"'
        return JSONResponse(document, headers={"Content-Disposition": name})
    return render(request, "raw.html", **around(request, client, execution), document=plain(document))


def show(
    request: Request,
    client: Client,
    execution_id: str,
    status: int = 200,
    refused: str = "",
    *,
    form: EditForm | None = None,
    note: str = "",
) -> Response:
    """Answer with the page of one execution, and with why something was refused, which the forms still hold."""
    execution = client.executions.get(execution_id)
    output, missing = read_output(execution)
    inputs = read_inputs(client, execution)
    good = last_success(client, execution) if execution.status is Status.FAILED else None
    children = list(islice(client.executions.iterate(term("parent", execution.id), sort="created"), CHILDREN + 1))
    return render(
        request,
        "detail.html",
        status,
        **around(request, client, execution),
        refused=refused,
        form=form or EditForm.of(execution, is_open="edit" in request.query_params),
        note=note,
        why=why_waiting(client, execution),
        steps=steps_of(execution),
        bars=bars_of(execution),
        facts=list(_facts(execution)),
        times=list(_times(execution)),
        codes=[(name, code) for name, code in (("Submitted by", execution.code), ("Ran", execution.ran)) if code],
        inputs=inputs,
        good=good,
        differences=differences_of(execution, inputs, good, read_inputs(client, good)) if good else (),
        output=output,
        missing=missing,
        series=_series(execution),
        children=children[:CHILDREN],
        more_children=len(children) > CHILDREN,
        asked=Asked(),
    )


def around(request: Request, client: Client, execution: Execution) -> dict[str, Any]:
    """Give what every page of one execution shows: itself, what can be done, and its neighbours in the list."""
    inside, at = request.query_params.get("in"), request.query_params.get("at", "")
    older, newer = _neighbours(client, execution, inside) if inside is not None else (None, None)
    return {
        "execution": execution,
        "inside": inside,
        "older_one": older,
        "newer_one": newer,
        "list_url": _list_url(inside or "", at),
        "keep": f"?{urlencode([('in', inside), *([('at', at)] if at else [])])}" if inside is not None else "",
        "stopping": execution.reason is Reason.TERMINATING,
    }


def _list_url(query: str, rest: str) -> str:
    """Write the address of the list that somebody came from; of a view an empty query is said as well."""
    return f"/executions?{urlencode([*parse_qsl(rest), ('q', query)])}" if rest else link("/executions", q=query)


def _neighbours(client: Client, execution: Execution, query: str) -> tuple[str | None, str | None]:
    """Find the one created before and the one created after, among those that match the list's query."""
    if execution.created is None:
        return None, None
    search, at = Search.read(query), iso(execution.created)
    try:
        before = client.executions.list(search.and_also(f'created:<="{at}"'), sort="-created", limit=2)
        after = client.executions.list(search.and_also(f'created:>="{at}"'), sort="created", limit=2)
    except ExecutionsError:
        return None, None  # the list itself says what is wrong with the query
    older, newer = (next((one.id for one in found if one.id != execution.id), None) for found in (before, after))
    return older, newer


def read_output(execution: Execution) -> tuple[str | None, str]:
    """Give the output as text, or why it cannot be had from here."""
    if not execution.has_output:
        return None, ""
    try:
        return plain(execution.output), ""
    except ExecutionsError as error:
        return None, str(error)


def _facts(e: Execution) -> Iterator[tuple[str, Any, str]]:
    """Give name, value, and the query that finds others with the same value."""
    yield "Name", e.name, ""
    yield "Function", e.function, "function"
    yield "Service", e.service, "service"
    yield "Policy version", e.service_version, ""
    yield "Pipeline", e.pipeline, "pipeline"
    yield "Stage", e.stage, "stage"
    yield "Queue", e.queue, "queue"
    yield "Worker", e.worker, "worker"
    yield "Process", f"{e.pid}, {e.pool}" if e.pid else None, ""
    yield "Attempt", f"{e.attempt} of {e.max_attempts}" if e.max_attempts else e.attempt, ""
    yield "Time limit", limit(e.execution_timeout), ""
    yield "Submitted by", e.principal, ""


def _times(e: Execution) -> Iterator[tuple[str, datetime | None]]:
    yield "Created", e.created
    yield "Queued again", e.queued if e.queued != e.created else None
    yield "Not before", e.eta
    yield "Not after", e.expires
    yield "Started", e.started
    yield "Ended", e.finished


def _series(execution: Execution) -> list[tuple[str, str, str, int]]:
    """Give name, last value, points of a line and their number of each step metric."""
    try:
        found = execution.metrics()
    except ExecutionsError:
        return []  # the record is worth showing all the same
    return [_line(name, points) for name, points in found.items() if points]


def _line(name: str, points: Sequence[dict[str, Any]]) -> tuple[str, str, str, int]:
    numbers = [float(one["value"]) for one in points if isinstance(one.get("value"), int | float)][-400:]
    low, high = min(numbers, default=0.0), max(numbers, default=0.0)
    span, last = (high - low) or 1.0, max(len(numbers) - 1, 1)
    drawn = " ".join(f"{100 * at / last:.1f},{22 - 20 * (one - low) / span:.1f}" for at, one in enumerate(numbers))
    return name, f"{points[-1].get('value')}", drawn, len(points)


def document_of(execution: Execution) -> dict[str, Any]:
    """Give all of the record as what JSON knows."""
    output, missing = None, ""
    try:
        output = execution.output
    except ExecutionsError as error:
        missing = str(error)
    hidden = ("_raw", "_verbs", "awaits", "attempts_log")
    document = {name: _plain(value) for name, value in vars(execution).items() if name not in hidden}
    document |= {"duration": execution.duration, "output": _plain(output)}
    document["attempts"] = [_plain(vars(one) | {"duration": one.duration}) for one in execution.attempts_log]
    return document | ({"output_missing": missing} if missing else {})


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return _plain(vars(value)) if hasattr(value, "__dict__") else str(value)
