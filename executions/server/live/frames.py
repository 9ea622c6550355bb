"""Events as the frames of a stream."""

from __future__ import annotations

import json
from typing import Any

from executions.states import TERMINAL, Status

_FIELDS = ("id", "status", "reason", "function", "service", "message", "attempt")


def frame_of(event: dict[str, Any]) -> bytes:
    """Write one event: `execution.created`, `execution.finished`, or `execution.updated`."""
    status = Status(event["status"])
    is_new = status is Status.PENDING and not event["attempt"]
    kind = "created" if is_new else "finished" if status in TERMINAL else "updated"
    data = {name: event[name] for name in _FIELDS}
    data["timestamp"] = event["timestamp"].isoformat().replace("+00:00", "Z")
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    return f"id: {event['cursor']}\nevent: execution.{kind}\ndata: {text}\n\n".encode()


def resync(why: str, cursor: str) -> bytes:
    """Write that the listener has to read again what it shows."""
    return f'id: {cursor}\nevent: resync\ndata: {{"why":"{why}"}}\n\n'.encode()
