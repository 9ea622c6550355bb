"""Executions, workers and the like as plain data, for `--json` and `--csv`."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from executions import codec
from executions.columns import SUMMARY, find_column
from executions.errors import ExecutionsError
from executions.execution import Attempt, Execution
from executions.exported import UNKNOWN
from executions.stats import Period, Stats

#: Executions that are written at once.
PIECE = 200


#: What a formula begins with, also behind what a spreadsheet takes away.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}",
            "\N{FULLWIDTH HYPHEN-MINUS}", "\N{FULLWIDTH COMMERCIAL AT}")  # fmt: skip


def plain(value: Any) -> Any:
    """Turn a value into what JSON knows; times are written as RFC 3339."""
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if value is None or isinstance(value, str | int | float):
        return value
    return str(value)


def rfc3339(moment: datetime | None) -> str:
    """Write a time in UTC, or nothing."""
    return "" if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def summary(execution: Execution, columns: Sequence[str] = SUMMARY) -> dict[str, Any]:
    """Give what a list tells of an execution."""
    return {name: plain(find_column(name).value(execution)) for name in columns}


def summaries(items: Iterable[Execution], columns: Sequence[str] = SUMMARY) -> Iterator[dict[str, Any]]:
    """Give what a list tells of many."""
    return (summary(item, columns) for item in items)


def unknown(ids: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Give the entries of an export that stand for ids which nobody has."""
    return ({"id": one, "status": UNKNOWN} for one in ids)


def as_csv(documents: Iterable[Mapping[str, Any]], columns: Sequence[str] = SUMMARY, end: str = "\n") -> Iterator[str]:
    """Write documents as comma-separated values with a header, a piece at a time."""
    rows = ([document.get(name) for name in columns] for document in documents)
    lines: Iterator[Iterable[Any]] = itertools.chain([map(_csv_cell, columns)], (map(_csv_cell, row) for row in rows))
    while piece := list(itertools.islice(lines, PIECE)):
        text = io.StringIO()
        csv.writer(text, lineterminator=end).writerows(piece)
        yield text.getvalue()


def as_json(documents: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Write documents as one JSON array, a piece at a time."""
    comma, rows = "[", iter(documents)
    while piece := list(itertools.islice(rows, PIECE)):
        yield comma + ",\n".join(map(_line, piece))
        comma = ",\n"
    yield "[]\n" if comma == "[" else "]\n"


def as_lines(documents: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Write documents as JSON, one a line."""
    return (_line(document) + "\n" for document in documents)


#: How each kind of export is written.
WRITERS: dict[str, Callable[..., Iterator[str]]] = {"csv": as_csv, "json": as_json, "jsonl": as_lines}


def export(
    kind: str, found: Iterator[Execution], columns: Sequence[str], missing: Sequence[str] = (), end: str = "\n"
) -> Iterator[str]:
    """Write executions as a file of a kind, a piece at a time: these columns or, where there are none, all of each.

    The first is read at once, so that a query which is refused leaves no empty file. `missing` are ids nobody has.
    """
    items = itertools.chain(list(itertools.islice(found, 1)), found)
    told = summaries(items, columns) if columns else map(whole, items)
    documents = itertools.chain(told, unknown(missing))
    return as_csv(documents, columns, end) if kind == "csv" else WRITERS[kind](documents)


def _line(document: Any) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def _csv_cell(value: Any) -> Any:
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(one, dict | list) for one in value)):
        return _line(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    text = " ".join(map(str, value)) if isinstance(value, list) else value
    # A spreadsheet would run what begins like a formula.
    return f"'{text}" if isinstance(text, str) and text[:1] in _FORMULA else text


def whole(execution: Execution) -> dict[str, Any]:
    """Give everything that is known of an execution so that it can be read back as it was, see `exported.py`."""
    return full(execution, write=_typed)


def _typed(value: Any) -> Any:
    """Write a value that users gave so that dates, decimals and the like stay what they are."""
    return json.loads(codec.encode(value))


def full(execution: Execution, write: Callable[[Any], Any] = plain) -> dict[str, Any]:
    """Give everything that is known of an execution; `write` turns what users gave into what JSON knows."""
    output, missing = read_output(execution)
    document = summary(execution) | {
        "service_version": execution.service_version,
        "pid": execution.pid,
        "pool": execution.pool,
        "eta": plain(execution.eta),
        "expires": plain(execution.expires),
        "execution_timeout": execution.execution_timeout,
        "max_attempts": execution.max_attempts,
        "progress_message": execution.progress_message,
        "properties": write(execution.properties),
        "latest_metrics": write(execution.latest_metrics),
        "inputs": write(execution.inputs),
        "has_output": execution.has_output,
        "output": write(output),
        "error": plain(execution.error),
        "stop_request": plain(execution.stop_request),
        "latest_status": plain(execution.latest_status),
        "status_log": plain(execution.status_log),
        "attempts": [_attempt(attempt) for attempt in execution.attempts_log],
        "code": plain(execution.code),
        "ran": plain(execution.ran),
        "metrics": plain(execution.metrics()),
        "notes": plain(execution.notes),
    }
    return document | ({"output_missing": missing} if missing else {})


def read_output(execution: Execution) -> tuple[Any, str | None]:
    """Give the output, or why it cannot be had from here: the record is worth showing all the same."""
    try:
        return execution.output, None
    except ExecutionsError as error:
        return None, str(error)


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {**plain(attempt), "duration": attempt.duration}


def stats_of(found: Stats) -> dict[str, Any]:
    """Give statistics over time as one document."""
    return {
        "total": _period(found.total),
        "steps": [_period(step) for step in found.steps],
        "complete": found.complete,
        "scanned": found.scanned,
    }


def _period(period: Period) -> dict[str, Any]:
    rates = {name: getattr(period, name) for name in ("ended", "success_rate", "failure_rate", "throughput")}
    return {**plain(period), **rates}
