"""What a person may change of an execution: tags, properties, notes; what of it is refused, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from executions import codec
from executions.errors import Changed, InvalidInput
from executions.execution import Execution
from executions.parts import Parts
from executions.registry.edits import NOTE_LONGEST, NOTES_MOST, Edit, Full, Moved
from executions.registry.outcomes import found_or_raise

#: Characters of a tag and of a property's name, bytes of a property's value, and changes that one call makes.
NAME_LONGEST = 300
VALUE_LARGEST = 64 * 1024
CHANGES_MOST = 200

_KNOWN = ("tags", "remove_tags", "properties", "remove_properties", "unless_changed")


class Editor:
    """Checks the changes, and has them written in the name of who acts."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def update(self, execution: Execution, changes: Mapping[str, Any]) -> None:
        """Change tags and properties."""
        outcome = self._parts.edits.edit(execution.id, _edit(execution, changes))
        if isinstance(outcome, Moved):
            raise Changed(
                f"the tags or properties of execution {execution.id} have changed since they were read; read it again"
            )
        if isinstance(outcome, Full):
            raise InvalidInput("an execution has at most 100 tags and 1,000 properties and metrics; remove some first")
        found_or_raise(outcome, execution.id)

    def note(self, execution_id: str, text: str) -> None:
        """Add a note."""
        if not isinstance(text, str) or not text.strip():
            raise InvalidInput("a note is a text that is not empty")
        if len(text.strip()) > NOTE_LONGEST:
            raise InvalidInput(f"a note has at most {NOTE_LONGEST:,} characters, not {len(text.strip()):,}")
        outcome = self._parts.edits.note(execution_id, self._parts.settings.principal, text.strip())
        if isinstance(outcome, Full):
            raise InvalidInput(f"execution {execution_id} has {NOTES_MOST} notes, and there is no room for more")
        found_or_raise(outcome, execution_id)


def _edit(execution: Execution, changes: Mapping[str, Any]) -> Edit:
    unknown = sorted(changes.keys() - set(_KNOWN))
    if unknown:
        raise InvalidInput(
            f"{unknown[0]} cannot be changed; only tags and properties can (the status has its own verbs)"
        )
    if changes.get("unless_changed") and "ls" not in execution._raw:
        raise InvalidInput("a list does not show all properties, so unless_changed needs what get() or refresh() gave")
    # What looks secret is not kept where all may see it, and there is no other place for a property.
    _, properties, _ = codec.redact((), dict(changes.get("properties") or {}))
    edit = Edit(
        add_tags=_names("tag", changes.get("tags") or ()),
        drop_tags=_names("tag", changes.get("remove_tags") or ()),
        properties={
            name: _value(name, properties[key])
            for key, name in zip(properties, _names("property", properties), strict=True)
        },
        drop_properties=_names("property", changes.get("remove_properties") or ()),
        seen=execution._raw if changes.get("unless_changed") else None,
    )
    if sum(map(len, (edit.add_tags, edit.drop_tags, edit.properties, edit.drop_properties))) > CHANGES_MOST:
        raise InvalidInput(f"at most {CHANGES_MOST} tags and properties are changed at once")
    return edit


def _names(what: str, given: Iterable[Any]) -> list[str]:
    if isinstance(given, str):
        raise InvalidInput(f"give several {what} names as a list, not {given[:40]!r}")
    names = [str(one) for one in given]
    for name in names:
        if not name or len(name) > NAME_LONGEST:
            raise InvalidInput(f"a {what}'s name has from 1 to {NAME_LONGEST} characters, not {len(name)}")
    return names


def _value(name: str, value: Any) -> str:
    text = codec.encode(value, f"property {name!r}")
    if len(text.encode()) > VALUE_LARGEST:
        raise InvalidInput(f"property {name[:40]!r} is larger than {VALUE_LARGEST // 1024} KiB")
    return text
