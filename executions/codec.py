"""Values as JSON, in the dialect that Celery's own messages use, and what of them may be shown.

Dates, times, decimals, UUIDs and bytes travel as `{"__type__": ..., "__value__": ...}`, just as kombu writes
them, so a value reads the same from a message, a record or a result.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from executions.errors import NotSerializable

#: What stands in the place of a value that must not be shown.
REDACTED = "[redacted]"

_SECRET = re.compile(
    r"passw(or)?d|passphrase|^pwd$|secret|token|api_?key|access_?key|private_?key|authorization|credential|cookie",
    re.IGNORECASE,
)


def _default(value: Any) -> Any:
    reducer = getattr(value, "__json__", None)
    if reducer is not None:
        return reducer()
    for kind, marker, write in _WRITERS:
        if isinstance(value, kind):
            return {"__type__": marker, "__value__": write(value)}
    if isinstance(value, bytes):
        try:
            return {"__type__": "bytes", "__value__": value.decode()}
        except UnicodeDecodeError:
            return {"__type__": "base64", "__value__": base64.b64encode(value).decode()}
    raise TypeError(f"{type(value).__name__} is not JSON")


_WRITERS: tuple[tuple[type, str, Callable[[Any], Any]], ...] = (
    (datetime, "datetime", datetime.isoformat),
    (date, "date", date.isoformat),
    (time, "time", time.isoformat),
    (Decimal, "decimal", str),
    (UUID, "uuid", lambda value: {"hex": value.hex}),
)

_READERS: dict[str, Callable[[Any], Any]] = {
    "datetime": datetime.fromisoformat,
    "date": lambda text: datetime.fromisoformat(text).date(),
    "time": time.fromisoformat,
    "decimal": Decimal,
    "uuid": lambda parts: UUID(**parts),
    "bytes": lambda text: text.encode(),
    "base64": base64.b64decode,
}

_encode: Callable[[Any], str] = json.JSONEncoder(default=_default, separators=(",", ":")).encode
_encode_sorted: Callable[[Any], str] = json.JSONEncoder(default=_default, separators=(",", ":"), sort_keys=True).encode


def _object_hook(value: dict[str, Any]) -> Any:
    if value.keys() == {"__type__", "__value__"}:
        reader = _READERS.get(value["__type__"])
        if reader is not None:
            return reader(value["__value__"])
    return value


_decode: Callable[[str], Any] = json.JSONDecoder(object_hook=_object_hook).decode


def encode(value: Any, what: str = "value") -> str:
    """Write a value as JSON; where it cannot be, say which part of it."""
    try:
        return _encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        where, why = _find_fault(value, what) or (what, str(error))
        raise NotSerializable(f"{where} cannot be written as JSON: {why}") from None


def canonical(value: Any) -> str | None:
    """Write a value so that equal ones are equal texts; `None` where it is not JSON."""
    try:
        return _encode_sorted(value)
    except (TypeError, ValueError, RecursionError):
        return None


def decode(text: str | bytes) -> Any:
    """Read what `encode` wrote."""
    return _decode(text.decode() if isinstance(text, bytes) else text)


def _find_fault(value: Any, where: str, depth: int = 0) -> tuple[str, str] | None:
    """Walk to the first part that cannot be written."""
    if depth > 50:
        return where, "it is nested too deeply or contains itself"
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str | int | float | bool | None):
                return where, f"its key {key!r} is a {type(key).__name__}"
            found = _find_fault(item, f"{where}[{key!r}]", depth + 1)
            if found:
                return found
        return None
    if isinstance(value, list | tuple):
        for at, item in enumerate(value):
            found = _find_fault(item, f"{where}[{at}]", depth + 1)
            if found:
                return found
        return None
    try:
        _encode(value)
    except (TypeError, ValueError, RecursionError):
        return where, f"a {type(value).__name__} is not JSON"
    return None


def looks_secret(name: str, also: Collection[str] = ()) -> bool:
    """Tell whether an argument of this name should not be shown."""
    return name in also or _SECRET.search(name) is not None


def redact(
    args: Sequence[Any], kwargs: Mapping[str, Any], names: Sequence[str] = (), also: Collection[str] = ()
) -> tuple[list[Any], dict[str, Any], bool]:
    """Give the arguments as they may be shown, and whether anything had to be hidden.

    `names` are the function's parameter names where they are known, for positional arguments.
    """
    hidden: list[str] = []
    shown_args = [
        _hide(names[at], hidden) if at < len(names) and looks_secret(names[at], also) else _inside(item, also, hidden)
        for at, item in enumerate(args)
    ]
    shown_kwargs = _inside(dict(kwargs), also, hidden)
    return shown_args, shown_kwargs, bool(hidden)


def _hide(name: str, hidden: list[str]) -> str:
    hidden.append(name)
    return REDACTED


def _inside(value: Any, also: Collection[str], hidden: list[str]) -> Any:
    if isinstance(value, dict):
        return {
            key: _hide(key, hidden) if isinstance(key, str) and looks_secret(key, also) else _inside(item, also, hidden)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_inside(item, also, hidden) for item in value]
    return value
