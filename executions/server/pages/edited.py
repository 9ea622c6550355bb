"""The form for an execution's tags and properties: what it shows, and what of it was changed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from executions.annotation import read
from executions.execution import Execution
from executions.server.pages.site import Form

#: Characters of a property that fit into the form; a longer one is changed from Python.
LONGEST = 2000

#: Empty lines for further properties.
_BLANKS = 2


@dataclass(frozen=True)
class EditForm:
    """What stands in the form."""

    seen: str
    tags: str
    #: Name, value as it is typed, and whether the name is there already.
    properties: tuple[tuple[str, str, bool], ...]
    is_open: bool = False

    @classmethod
    def of(cls, execution: Execution, *, is_open: bool = False) -> EditForm:
        """Fill it in with what is there."""
        known = [(name, typed(value)) for name, value in sorted(execution.properties.items())]
        rows = [(name, text, True) for name, text in known if len(text) <= LONGEST]
        return cls(seen_of(execution), "\n".join(execution.tags), (*rows, *[("", "", False)] * _BLANKS), is_open)

    @classmethod
    def sent(cls, execution: Execution, sent: Form) -> EditForm:
        """Fill it in with what was sent and not saved; sent again it is meant for what is there now."""
        rows = [(name, text, name in execution.properties) for name, text in _pairs(sent)]
        return cls(seen_of(execution), sent.get("tags", ""), tuple(rows), True)


def changes(execution: Execution, sent: Form) -> dict[str, Any]:
    """Give what a form changes, as `Execution.update` takes it: an empty value takes the property away."""
    wanted = list(dict.fromkeys(line.strip() for line in sent.get("tags", "").splitlines() if line.strip()))
    properties: dict[str, Any] = {}
    gone: list[str] = []
    for name, text in _pairs(sent):
        is_there = name in execution.properties
        if not name or (is_there and text == typed(execution.properties[name])):
            continue
        if text.strip():
            properties[name] = read(text.strip())
        elif is_there:
            gone.append(name)
    return {
        "tags": [tag for tag in wanted if tag not in execution.tags],
        "remove_tags": [tag for tag in execution.tags if tag not in wanted],
        "properties": properties,
        "remove_properties": gone,
    }


def seen_of(execution: Execution) -> str:
    """Give a text that changes with the tags and properties, and with nothing else."""
    seen = json.dumps([execution.tags, execution.properties], sort_keys=True, default=str)
    return hashlib.sha256(seen.encode(errors="replace")).hexdigest()[:16]


def typed(value: Any) -> str:
    """Write a value so that it is read as the same again."""
    if isinstance(value, str) and value.strip() == value and value and read(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _pairs(sent: Form) -> list[tuple[str, str]]:
    texts = [text.replace("\r\n", "\n") for text in sent.all("value")]
    return list(zip((name.strip() for name in sent.all("key")), texts, strict=False))
