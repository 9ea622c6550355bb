"""Exports: all that match a query, or that are named, as a file that is written while it is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from executions.cli.documents import export
from executions.client import Client
from executions.columns import SUMMARY, parse_columns
from executions.execution import Execution
from executions.server.api.executions import Q, Sort
from executions.server.api.schema import PROBLEMS
from executions.server.problems import Problem
from executions.server.security.require import Viewing

router = APIRouter(prefix="/api/v1/exports", tags=["exports"], responses=PROBLEMS)

#: What each kind of file is called.
_KINDS = {"csv": "text/csv; charset=utf-8", "json": "application/json", "jsonl": "application/x-ndjson"}

#: Ids that one export takes: an address with so many is still one that servers take.
MOST_IDS = 1000

_FILES = {
    200: {
        "content": {
            "text/csv": {"schema": {"type": "string"}},
            "application/json": {"schema": {"type": "array", "items": {"type": "object"}}},
            "application/x-ndjson": {"schema": {"type": "string"}},
        }
    }
}


@router.get("/executions", response_class=StreamingResponse, responses=_FILES)  # type: ignore[arg-type]
def export_executions(
    client: Viewing,
    q: Q = "",
    ids: Annotated[
        str, Query(max_length=60_000, description="In place of `q`: ids or numbers, with commas between; a thousand.")
    ] = "",
    sort: Sort = "-created",
    columns: Annotated[str, Query(max_length=4000, description="Names of columns, with commas between.")] = "",
    whole: Annotated[
        bool, Query(description="All of each in place of columns, as JSON that `executions.read_export` reads back.")
    ] = False,
    format: Annotated[Literal["csv", "json", "jsonl"], Query()] = "csv",
) -> StreamingResponse:
    """Give all executions that match, or those that are named, as a file; unknown ids are told in it. Needs `view`."""
    if whole and (columns or format == "csv"):
        raise Problem("validation", "whole executions have no columns: take json or jsonl, and name none", errors=[])
    names = () if whole else parse_columns(columns) or SUMMARY
    found, missing = _named(client, q, ids) if ids else (_matching(client, q, sort, names), [])
    answer = StreamingResponse(export(format, found, names, missing, end="\r\n"), media_type=_KINDS[format])
    answer.headers["Content-Disposition"] = f'attachment; filename="executions.{format}"'
    if ids:
        answer.headers["X-Unknown-Ids"] = str(len(missing))
    return answer


def _matching(client: Client, q: str, sort: str, names: Sequence[str]) -> Iterator[Execution]:
    found = client.executions.iterate(q or None, sort=sort, columns=names)
    return found if names else client.executions.whole(one.id for one in found)


def _named(client: Client, q: str, ids: str) -> tuple[Iterator[Execution], Sequence[str]]:
    named = [one.strip() for one in ids.split(",") if one.strip()]
    if q or len(named) > MOST_IDS:
        raise Problem("validation", f"give either a query or ids, at most {MOST_IDS:,} of them", errors=[])
    return client.executions.named(named)
