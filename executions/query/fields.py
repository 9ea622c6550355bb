"""The fields that a query may name: what each one is, what else it is called, and how it is looked up."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """How the values of a field are read."""

    WORD = "word"
    STATUS = "status"
    REASON = "reason"
    TIME = "time"
    DURATION = "duration"


@dataclass(frozen=True)
class Field:
    """One field of the search language."""

    name: str
    kind: Kind
    #: Whether there is a bitmap for each of its values; the others are looked up on the records.
    indexed: bool = False
    #: Whether the registry keeps an exact count for each value; an execution then has at most one value.
    counted: bool = False
    aliases: tuple[str, ...] = ()

    @property
    def is_range(self) -> bool:
        """Whether its values are ordered, so that `>` and `TO` make sense."""
        return self.kind in (Kind.TIME, Kind.DURATION)


_ALL = (
    Field("status", Kind.STATUS, indexed=True, counted=True, aliases=("state",)),
    Field("reason", Kind.REASON),
    Field("function", Kind.WORD, indexed=True, counted=True, aliases=("func", "task")),
    Field("service", Kind.WORD, indexed=True, counted=True),
    Field("queue", Kind.WORD, indexed=True, counted=True),
    Field("worker", Kind.WORD, indexed=True, counted=True),
    Field("pipeline", Kind.WORD, indexed=True, counted=True),
    Field("stage", Kind.WORD, indexed=True, counted=True, aliases=("type",)),
    Field("tag", Kind.WORD, indexed=True, aliases=("tags",)),
    Field("parent", Kind.WORD, indexed=True, aliases=("parent_id",)),
    Field("root", Kind.WORD, indexed=True, aliases=("root_id",)),
    Field("name", Kind.WORD, indexed=True),
    Field("commit", Kind.WORD, indexed=True, counted=True),
    Field("branch", Kind.WORD, indexed=True, counted=True),
    Field("id", Kind.WORD, indexed=True),
    Field("principal", Kind.WORD, aliases=("user",)),
    Field("created", Kind.TIME, aliases=("date",)),
    Field("started", Kind.TIME),
    Field("finished", Kind.TIME, aliases=("ended", "completed")),
    Field("duration", Kind.DURATION, aliases=("took",)),
)

#: Every field by its own name.
FIELDS: dict[str, Field] = {field.name: field for field in _ALL}

#: Every field by its name and its aliases.
BY_WORD: dict[str, Field] = {word: field for field in _ALL for word in (field.name, *field.aliases)}

#: Fields of the full language; they are refused by name, not as if they were misspelt.
LATER = frozenset(
    {"repo", "author", "error", "log", "attempt", "property", "metric", "input"} | {"output", "artifact", "is", "has"}
)


def find_field(word: str) -> Field | None:
    """Give the field of a name or an alias, in any case."""
    return BY_WORD.get(word.lower())


def suggest(word: str, known: list[str]) -> str:
    """Give ` (did you mean x?)` where something known is close, and nothing otherwise."""
    close = difflib.get_close_matches(word.lower()[:100], known, n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""
