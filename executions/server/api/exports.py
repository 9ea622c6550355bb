"""Exports: all that match a query, as a file that is written while it is read."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from itertools import chain, islice
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from executions.cli.documents import SUMMARY, summary
from executions.execution import Execution
from executions.server.api.executions import Q, Sort
from executions.server.api.logs import streamed
from executions.server.api.models import to_json
from executions.server.api.schema import PROBLEMS
from executions.server.security.require import Viewing

router = APIRouter(prefix="/api/v1/exports", tags=["exports"], responses=PROBLEMS)

#: Rows that are sent at once.
_PIECE = 200

#: A cell that begins so is a formula to a spreadsheet.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

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
    sort: Sort = "-created",
    format: Annotated[Literal["csv", "json", "jsonl"], Query()] = "csv",
) -> StreamingResponse:
    """Give all executions that match as a file. Needs `view`."""
    found = client.executions.iterate(q or None, sort=sort)
    # The first is read before anything is sent, so that a query that is refused is a problem and no empty file.
    rows = chain(list(islice(found, 1)), found)
    if format == "jsonl":
        answer = streamed(map(summary, rows), to_json, "application/x-ndjson")
    elif format == "json":
        answer = StreamingResponse(_json(rows), media_type="application/json")
    else:
        answer = StreamingResponse(_csv(rows), media_type="text/csv; charset=utf-8")
    answer.headers["Content-Disposition"] = f'attachment; filename="executions.{format}"'
    return answer


def _json(rows: Iterator[Execution]) -> Iterator[str]:
    yield "["
    comma = ""
    while piece := list(islice(rows, _PIECE)):
        yield comma + ",\n".join(to_json(summary(one)) for one in piece)
        comma = ",\n"
    yield "]\n"


def _csv(rows: Iterator[Execution]) -> Iterator[str]:
    yield ",".join(SUMMARY) + "\r\n"
    while piece := list(islice(rows, _PIECE)):
        written = io.StringIO()
        csv.writer(written).writerows([_cell(value) for value in summary(one).values()] for one in piece)
        yield written.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        value = " ".join(str(part) for part in value)
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
