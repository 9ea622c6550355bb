"""Saved views: one hash of them all, written by whoever has read the newest of it.

| key | field | what |
|---|---|---|
| `views` | id | JSON: `name query sort columns owner shared version created updated updated_by`; times in us |
| | `revision` | goes up with every write |
| `counted` | | how many matched a query, or `-` where that is not told cheaply |
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from executions.clock import to_datetime
from executions.registry import keys, scripts
from executions.registry.connection import translated
from executions.registry.space import Space
from executions.view import View

#: Seconds that a count beside a view is shown before it is counted again.
COUNTED_S = 60

_REVISION = "revision"
_TIMES = ("created", "updated")


class ViewShelf:
    """Reads and writes the views."""

    def __init__(self, space: Space) -> None:
        self._space = space

    @translated
    def read(self) -> tuple[str, dict[str, View]]:
        """Read all views by id, and their revision."""
        found = {name.decode(): text for name, text in self._space.client.hgetall(self._key).items()}
        revision = found.pop(_REVISION, b"0").decode()
        return revision, {name: _view(name, json.loads(text)) for name, text in found.items()}

    @translated
    def write(self, revision: str, view_id: str, fields: Mapping[str, Any] | None) -> bool:
        """Write a view, or without fields remove it; tell whether this was still the revision."""
        text = json.dumps(fields) if fields else ""
        return bool(scripts.VIEW_WRITE(self._space.client, (self._key,), (revision, view_id, text)))

    @translated
    def counted(self, digests: Sequence[str]) -> list[str | None]:
        """Give what was counted within the last minute."""
        if not digests:
            return []
        found = self._space.client.mget([self._counted(one) for one in digests])
        return [None if text is None else text.decode() for text in found]

    @translated
    def keep_count(self, digest: str, text: str) -> None:
        """Keep a count for a minute."""
        self._space.client.set(self._counted(digest), text, ex=COUNTED_S)

    @property
    def _key(self) -> str:
        return keys.views(self._space.namespace)

    def _counted(self, digest: str) -> str:
        return keys.counted(self._space.namespace, digest)


def _view(view_id: str, raw: dict[str, Any]) -> View:
    known = {name: raw[name] for name in View.__dataclass_fields__ if name in raw and name != "id"}
    times = {name: to_datetime(raw.get(name)) for name in _TIMES}
    return View(**{**known, **times, "id": view_id, "columns": tuple(raw.get("columns", ()))})
