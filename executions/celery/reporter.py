"""Carries what a running function says about itself to the registry, gathered for a moment at a time."""

from __future__ import annotations

import math
import threading
from typing import Any

from executions import codec
from executions.errors import ExecutionsError, InvalidInput
from executions.flusher import Flusher
from executions.registry.transitions import Transitions

#: Metrics of one attempt whose last values are on the record, where queries find them; all are in the stream.
METRICS_NAMED = 100

STATE_CAP = 512 * 1024


class RegistryReporter:
    """Implements `context.Reporter` for one attempt."""

    def __init__(self, execution_id: str, attempt: int, transitions: Transitions, flusher: Flusher, state: str) -> None:
        self._id = execution_id
        self._attempt = attempt
        self._transitions = transitions
        self._flusher = flusher
        self._state = state
        self._fields: dict[str, Any] = {}
        self._tags: list[str] = []
        self._points: list[tuple[str, float, int | None]] = []
        self._named: set[str] = set()
        self._lock = threading.Lock()
        #: What the function gave before its end, as JSON; holds where it returns nothing.
        self.early_output = ""

    def progress(self, percent: int | None, message: str | None, output: Any) -> None:
        fields: dict[str, Any] = {}
        if percent is not None:
            fields["pc"] = percent
        if message is not None:
            fields["pm"] = message
        if output is not None:
            self.early_output = fields["out"] = codec.encode(output, "output")
        self._gather(fields)

    def metric(self, name: str, value: float, step: int | None) -> None:
        with self._lock:
            self._points.append((name, value, step))
            if math.isfinite(value) and (name in self._named or len(self._named) < METRICS_NAMED):
                self._named.add(name)
                self._fields[f"m.{name}"] = repr(float(value))
        self._flusher.wake(self)

    def set_property(self, key: str, value: Any) -> None:
        if not key:
            raise InvalidInput("a property needs a name")
        self._gather({f"p.{key}": codec.encode(value, f"property {key!r}")})

    def add_tag(self, tag: str) -> None:
        if not tag:
            raise InvalidInput("a tag needs a text")
        with self._lock:
            self._tags.append(tag)
        self._flusher.wake(self)

    def save_state(self, state: Any) -> None:
        text = codec.encode(state, "state")
        if len(text) > STATE_CAP:
            raise InvalidInput(f"the state is {len(text)} bytes of JSON; at most {STATE_CAP} can be saved")
        self._transitions.annotate(self._id, self._attempt, fields=("ss", text))
        self._state = text

    def load_state(self) -> Any:
        return codec.decode(self._state) if self._state else None

    def flush(self) -> None:
        """Write what was gathered; nothing of it may hurt the function."""
        fields, tags, points = self.drain()
        if not (fields or tags or points):
            return
        try:
            self._transitions.report(self._id, self._attempt, fields=fields, tags=tags, points=points)
        except ExecutionsError:
            with self._lock:
                self._fields = {**_pairs(fields), **self._fields}
                self._tags[:0] = tags

    def drain(self) -> tuple[list[Any], list[str], list[tuple[str, float, int | None]]]:
        """Take away what was gathered."""
        with self._lock:
            fields = [item for pair in self._fields.items() for item in pair]
            tags, points = self._tags, self._points
            self._fields, self._tags, self._points = {}, [], []
        return fields, tags, points

    def _gather(self, fields: dict[str, Any]) -> None:
        with self._lock:
            self._fields.update(fields)
        self._flusher.wake(self)


def _pairs(flat: list[Any]) -> dict[str, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
