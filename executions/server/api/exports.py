"""Exports: all that match a query, as a file that is written while it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from executions.cli.documents import as_csv, as_json, as_lines
from executions.columns import SUMMARY, parse_columns
from executions.execution import Execution
from executions.server.api.executions import Q, Sort
from executions.server.api.schema import PROBLEMS
from executions.server.security.require import Viewing

router = APIRouter(prefix="/api/v1/exports", tags=["exports"], responses=PROBLEMS)

#: How each kind of file is written, and what it is called.
_WRITERS: dict[str, tuple[Callable[[Iterator[Execution], Sequence[str]], Iterator[str]], str]] = {
    "csv": (partial(as_csv, end="\r\n"), "text/csv; charset=utf-8"),
    "json": (as_json, "application/json"),
    "jsonl": (as_lines, "application/x-ndjson"),
}

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
    columns: Annotated[str, Query(max_length=4000, description="Names of columns, with commas between.")] = "",
    format: Annotated[Literal["csv", "json", "jsonl"], Query()] = "csv",
) -> StreamingResponse:
    """Give all executions that match as a file. Needs `view`."""
    names = parse_columns(columns) or SUMMARY
    found = client.executions.iterate(q or None, sort=sort, columns=names)
    # The first is read before anything is sent, so that a query that is refused is a problem and no empty file.
    rows = chain(list(islice(found, 1)), found)
    written, kind = _WRITERS[format]
    answer = StreamingResponse(written(rows, names), media_type=kind)
    answer.headers["Content-Disposition"] = f'attachment; filename="executions.{format}"'
    return answer
