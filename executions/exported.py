"""An export that is read back: each document of it is an execution again, equal to the one that was written.

What an export holds is written by `cli/documents.py`, for the API as well. This is its other half.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar, cast

from executions import codec
from executions.errors import InvalidInput, PayloadMissing, Unsupported
from executions.execution import Attempt, Code, ErrorInfo, Execution, Note, StopRequest, Verbs
from executions.states import Reason, Status

#: The status of an entry that stands for an id which nobody had.
UNKNOWN = "unknown"

T = TypeVar("T")


def read_export(source: str | Path | Iterable[str]) -> Iterator[Execution]:
    """Read the executions of an export with whole documents: a file's path, or its lines or pieces as text.

    Each is equal to the one that was exported, and has its output and its metrics; what asks a registry, as `wait()`
    does, raises `Unsupported`. Ids that were unknown then are left out. JSON lines are read one at a time.
    """
    if isinstance(source, str | Path):
        with Path(source).open(encoding="utf-8") as file:
            yield from read_export(file)
        return
    for document in _documents(source):
        if not isinstance(document, Mapping):
            raise InvalidInput("this is no export: each document of one is an object")
        if document.get("status") != UNKNOWN:
            yield read_document(document)


def read_document(document: Mapping[str, Any]) -> Execution:
    """Make one execution of its whole document; raises `InvalidInput` where that tells only a part of it."""
    if missing := sorted({"status_log", "attempts", "has_output"} - document.keys()):
        raise InvalidInput(f"this document tells only some of an execution, no {missing[0]}; export whole ones")
    return _made(
        Execution,
        document,
        status=Status(document["status"]),
        reason=Reason(document["reason"]),
        tags=tuple(document["tags"]),
        properties=_value(document["properties"]),
        latest_metrics=_value(document["latest_metrics"]),
        inputs=_value(document["inputs"]),
        error=_error(document["error"]),
        **{name: _moment(document[name]) for name in ("created", "queued", "eta", "expires", "started", "finished")},
        status_log=tuple(map(_entry, document["status_log"])),
        attempts_log=tuple(map(_attempt, document["attempts"])),
        stop_request=_of(document["stop_request"], lambda one: _made(StopRequest, one, at=_moment(one["at"]))),
        notes=tuple(_made(Note, one, timestamp=_moment(one["timestamp"])) for one in document["notes"]),
        code=_of(document["code"], lambda one: _made(Code, one)),
        ran=_of(document["ran"], lambda one: _made(Code, one)),
        _verbs=cast(Verbs, _Document(document)),
    )


class _Document:
    """Answers what an execution asks where its document does."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def result_of(self, execution: Execution) -> Any:
        if missing := self._document.get("output_missing"):
            raise PayloadMissing(f"it was out of reach when this was exported: {missing}")
        return _value(self._document["output"])

    def metrics_of(self, execution: Execution) -> dict[str, list[dict[str, Any]]]:
        return {
            name: [{**point, "timestamp": _moment(point["timestamp"])} for point in points]
            for name, points in self._document["metrics"].items()
        }

    def __getattr__(self, name: str) -> Any:
        raise Unsupported("this execution was read from an export, which cannot be asked; read it through a client")


def _documents(source: Iterable[str]) -> Iterator[Any]:
    pieces = iter(source)
    first = next((piece for piece in pieces if piece.strip()), "")
    try:
        if first.lstrip().startswith("["):
            yield from json.loads(first + "".join(pieces))
            return
        for line in _lines(first, pieces):
            yield json.loads(line)
    except ValueError as error:
        raise InvalidInput(f"this is no export as JSON or JSON lines: {error}") from error


def _lines(first: str, pieces: Iterator[str]) -> Iterator[str]:
    """Give whole lines, however the text was cut."""
    rest = first
    for piece in pieces:
        *whole, rest = (rest + piece).split("\n")
        yield from filter(str.strip, whole)
    yield from filter(str.strip, rest.split("\n"))


def _made(kind: Callable[..., T], given: Mapping[str, Any], **read: Any) -> T:
    """Make a dataclass of what a document says of it; what a later version says besides is left out."""
    names = {one.name for one in fields(cast(Any, kind))}
    return kind(**{name: value for name, value in given.items() if name in names} | read)


def _of(given: Any, read: Callable[[Any], T]) -> T | None:
    return None if given is None else read(given)


def _value(written: Any) -> Any:
    """Read a value that users gave: dates, decimals and the like are themselves again."""
    return codec.decode(json.dumps(written))


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _error(given: Mapping[str, Any] | None) -> ErrorInfo | None:
    return _of(given, lambda one: _made(ErrorInfo, one))


def _entry(given: Mapping[str, Any]) -> dict[str, Any]:
    moment = _moment(given["timestamp"])
    return {**given, "status": Status(given["status"]), "reason": Reason(given["reason"]), "timestamp": moment}


def _attempt(given: Mapping[str, Any]) -> Attempt:
    return _made(
        Attempt,
        given,
        status=Status(given["status"]),
        reason=Reason(given["reason"]),
        started=_moment(given["started"]),
        finished=_moment(given["finished"]),
        error=_error(given["error"]),
    )
