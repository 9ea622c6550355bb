"""What people change of an execution: its tags and properties, and the notes that they leave on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from executions.registry import scripts
from executions.registry.connection import translated
from executions.registry.outcomes import Missing
from executions.registry.space import Space

#: Notes of one execution, and characters of one: enough for a hard week, little enough to be read with the record.
NOTES_MOST = 100
NOTE_LONGEST = 4000


@dataclass(frozen=True, kw_only=True)
class Edit:
    """What is to change; properties are JSON by name."""

    add_tags: Sequence[str] = ()
    drop_tags: Sequence[str] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    drop_properties: Sequence[str] = ()
    #: The record as the caller has seen it, where nothing may be written if tags or properties are others by now.
    seen: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Moved:
    """The tags or properties are not any more what the caller has seen."""


@dataclass(frozen=True)
class Full:
    """There is no room for more."""


class Edits:
    """Writes the changes, each in one step."""

    def __init__(self, space: Space) -> None:
        self._space = space

    @translated
    def edit(self, execution_id: str, edit: Edit) -> Missing | Moved | Full | None:
        """Change tags and properties, all of it or nothing."""
        fields = [part for name, text in edit.properties.items() for part in (f"p.{name}", text)]
        dropped = [f"p.{name}" for name in edit.drop_properties]
        lists: Sequence[Sequence[str]] = (edit.drop_tags, edit.add_tags, dropped, fields, _seen(edit.seen))
        reply = scripts.EDIT(
            self._space.client,
            self._space.keys(execution_id).of_transition(execution_id, 1),
            (execution_id, *(part for some in lists for part in (len(some), *some))),
        )
        outcomes: dict[bytes, Missing | Moved | Full] = {b"missing": Missing(), b"changed": Moved(), b"full": Full()}
        return outcomes.get(reply[0])

    @translated
    def note(self, execution_id: str, principal: str, text: str) -> Missing | Full | int:
        """Add a note; give its number."""
        reply = scripts.NOTE(
            self._space.client,
            self._space.keys(execution_id).of_transition(execution_id, 1),
            (execution_id, principal, text, NOTES_MOST),
        )
        if reply[0] == b"ok":
            return int(reply[1])
        return Missing() if reply[0] == b"missing" else Full()


def _seen(raw: Mapping[str, str] | None) -> list[str]:
    if raw is None:
        return []
    properties = [part for code, text in raw.items() if code.startswith("p.") for part in (code, text)]
    return ["tg", raw.get("tg", ""), *properties]
