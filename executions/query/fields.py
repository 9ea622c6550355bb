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
    CONDITION = "condition"
    TIME = "time"
    DURATION = "duration"
    NUMBER = "number"
    #: A number or a text; `property.<key>`.
    PROPERTY = "property"
    #: A number with a fraction; `metric.<name>`.
    METRIC = "metric"


class Match(Enum):
    """How the values of a field are compared with those of a query."""

    IS = "is"
    BEGINS = "begins with"
    HOLDS = "holds, in any case"


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
    #: What a colon means; `=` always means that a value is the same.
    match: Match = Match.IS
    #: Whether the registry keeps its values in order.
    ordered: bool = False

    @property
    def is_range(self) -> bool:
        """Whether its values are numbers or times, of which each value is a range."""
        return self.kind in (Kind.TIME, Kind.DURATION, Kind.NUMBER, Kind.METRIC)

    @property
    def is_keyed(self) -> bool:
        """Whether its name goes on with a key."""
        return self.kind in (Kind.PROPERTY, Kind.METRIC)


_ALL = (
    Field("status", Kind.STATUS, indexed=True, counted=True, aliases=("state",)),
    Field("reason", Kind.REASON),
    Field("function", Kind.WORD, indexed=True, counted=True, aliases=("func", "task")),
    Field("service", Kind.WORD, indexed=True, counted=True),
    Field("queue", Kind.WORD, indexed=True, counted=True),
    Field("worker", Kind.WORD, indexed=True, counted=True),
    Field("pipeline", Kind.WORD, indexed=True, counted=True, match=Match.BEGINS),
    Field("stage", Kind.WORD, indexed=True, counted=True, aliases=("type",)),
    Field("tag", Kind.WORD, indexed=True, aliases=("tags",)),
    Field("bulk", Kind.WORD, indexed=True),
    Field("parent", Kind.WORD, indexed=True, aliases=("parent_id",)),
    Field("root", Kind.WORD, indexed=True, aliases=("root_id",)),
    Field("name", Kind.WORD, indexed=True),
    Field("commit", Kind.WORD, indexed=True, counted=True, match=Match.BEGINS),
    Field("branch", Kind.WORD, indexed=True, counted=True),
    Field("id", Kind.WORD, indexed=True),
    Field("principal", Kind.WORD, aliases=("user",)),
    Field("reference", Kind.WORD),
    Field("message", Kind.WORD, match=Match.HOLDS),
    Field("error", Kind.WORD, match=Match.HOLDS),
    Field("fingerprint", Kind.WORD),
    Field("note", Kind.WORD, aliases=("notes",), match=Match.HOLDS),
    Field("created", Kind.TIME, aliases=("date",), ordered=True),
    Field("queued", Kind.TIME),
    Field("started", Kind.TIME, ordered=True),
    Field("finished", Kind.TIME, aliases=("ended", "completed"), ordered=True),
    Field("deadline", Kind.TIME),
    Field("duration", Kind.DURATION, aliases=("took",), ordered=True),
    Field("attempt", Kind.NUMBER, aliases=("attempts",)),
    Field("property", Kind.PROPERTY, aliases=("properties", "prop")),
    Field("metric", Kind.METRIC, aliases=("metrics",)),
    Field("is", Kind.CONDITION),
)

#: Every field by its own name.
FIELDS: dict[str, Field] = {field.name: field for field in _ALL}

#: Every field by its name and its aliases.
BY_WORD: dict[str, Field] = {word: field for field in _ALL for word in (field.name, *field.aliases)}

#: What is not recorded, or not where a list could look for it, and what to do in its place.
ELSEWHERE: dict[str, str] = {
    "repo": "lists do not know the repository; commit and branch tell code apart",
    "author": "lists do not know the author; commit and branch tell code apart",
    "log": "logs are searched one execution at a time; error, message and a word are looked for here",
    **dict.fromkeys(("input", "output", "artifact"), "inputs, outputs and artifacts are not searched; properties are"),
}

#: Introduces the name of a field that must have a value, as in `has:worker`.
HAS = "has"


def find_field(word: str) -> Field | None:
    """Give the field of a name or an alias, in any case."""
    return BY_WORD.get(word.lower())


def split_name(name: str) -> tuple[Field, str]:
    """Give the field of a name as a tree has it, and its key (`property.epochs`)."""
    word, _, key = name.partition(".")
    return FIELDS[word], key


def suggest(word: str, known: list[str]) -> str:
    """Give ` (did you mean x?)` where something known is close, and nothing otherwise."""
    close = difflib.get_close_matches(word.lower()[:100], known, n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""
