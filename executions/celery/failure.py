"""Exceptions as records: what happened, where in the user's own code, and how to raise it again elsewhere."""

from __future__ import annotations

import hashlib
import json
import re
import sysconfig
import traceback as tracebacks
from types import TracebackType
from typing import Any

from executions.codec import encode
from executions.errors import NotSerializable
from executions.execution import ErrorInfo
from executions.registry.records import encode_error

#: Characters of a message and of a traceback that are kept; tracebacks keep their end.
MESSAGE_CAP = 8 * 1024
TRACEBACK_CAP = 32 * 1024

_NUMBERS = re.compile(r"0x[0-9a-f]+|\d+")
_LIBRARY = (sysconfig.get_path("stdlib"), "/site-packages/", "/dist-packages/", "<frozen ")
_OWN = f"{__name__.split('.')[0]}/"


def describe(error: BaseException, *, kind: str = "user", text: str | None = None) -> tuple[str, str | None]:
    """Give an exception as the record's error (JSON) and its traceback."""
    # Half a character pair cannot be written anywhere.
    message = (text if text is not None else _message(error)).encode(errors="backslashreplace").decode()
    traceback = error.__traceback__
    frame, function = _user_frame(traceback)
    name = type(error).__qualname__
    mark = f"{name}|{function}|{_NUMBERS.sub('#', message)[:200]}"
    info = ErrorInfo(
        type=name,
        message=message[:MESSAGE_CAP],
        frame=frame,
        fingerprint=hashlib.sha1(mark.encode(errors="replace")).hexdigest()[:12],
        kind=kind,
        exit_code=getattr(error, "exit_code", None) if kind == "system" else None,
    )
    written = encode_error(info, name, type(error).__module__, _arguments(error))
    return written, _format(error) if traceback is not None else None


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # a user's __str__ may do anything
        return f"<unprintable: {type(broken).__name__}>"


def _arguments(error: BaseException) -> list[Any]:
    kept = []
    for item in error.args:
        try:
            text = encode(item)
            kept.append(json.loads(text) if len(text) <= MESSAGE_CAP else _message(error)[:MESSAGE_CAP])
        except NotSerializable:
            kept.append(repr(item)[:MESSAGE_CAP])
    return kept


def _format(error: BaseException) -> str:
    start = _first_of_user(error.__traceback__)
    try:
        text = "".join(tracebacks.format_exception(type(error), error, start))
    except Exception:  # the same, for what __str__ and __repr__ inside may do
        text = "".join(tracebacks.format_tb(start))
    text = text.encode(errors="backslashreplace").decode()
    return text if len(text) <= TRACEBACK_CAP else f"... {text[-TRACEBACK_CAP:]}"


def _first_of_user(traceback: TracebackType | None) -> TracebackType | None:
    """Leave out the frames that led to the user's code: Celery's and ours, the same in every traceback."""
    found = traceback
    while found is not None:
        path = found.tb_frame.f_code.co_filename
        if not any(part in path for part in _LIBRARY) and _OWN not in path:
            return found
        found = found.tb_next
    return traceback


def _user_frame(traceback: TracebackType | None) -> tuple[str | None, str | None]:
    """Find the innermost frame that is neither Python's, nor a library's, nor ours."""
    for frame in reversed(tracebacks.extract_tb(traceback)):
        path = frame.filename
        if not any(part in path for part in _LIBRARY) and _OWN not in path and not path.startswith("<"):
            return f"{path}:{frame.lineno} in {frame.name}", frame.name
    return None, None
