"""What a query means, as a frozen tree. `str()` of a tree is a query that parses to the same tree."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from executions.query.fields import BY_WORD, HAS, Match, split_name

_BARE = re.compile(r"[\w@.:/+#%\-]+")
_BARE_KEY = re.compile(r"[\w@./+#%][\w@./+#%\-]*")
KEYWORDS = frozenset({"AND", "OR", "NOT", "TO"})

#: A word that is the id of an execution.
ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True)
class Term:
    """The field has one of these values, or one that begins with or holds one of them."""

    field: str
    values: tuple[str, ...]
    match: Match = Match.IS
    position: int = dataclasses.field(default=0, compare=False)

    def __str__(self) -> str:
        usual = split_name(self.field)[0].match
        sign = "~" if self.match is Match.HOLDS else "=" if self.match is Match.IS is not usual else ":"
        star = "*" if self.match is Match.BEGINS else ""
        return write_name(self.field) + sign + ",".join(quote(value) + star for value in self.values)


@dataclass(frozen=True)
class Has:
    """The field has some value."""

    field: str
    position: int = dataclasses.field(default=0, compare=False)

    def __str__(self) -> str:
        return f"{HAS}:{write_name(self.field)}"


@dataclass(frozen=True)
class Word:
    """The text occurs in what people call the execution by: its names, tags, properties, message and error."""

    text: str
    position: int = dataclasses.field(default=0, compare=False)

    def __str__(self) -> str:
        plain = _BARE_KEY.fullmatch(self.text) and self.text.lower() not in {*BY_WORD, HAS}
        return quote(self.text) if plain and not ID.fullmatch(self.text) else _quoted(self.text)


@dataclass(frozen=True)
class Bound:
    """One end of a range, as it was written: relative times are worked out when the query is run."""

    text: str
    inclusive: bool = True


@dataclass(frozen=True)
class Range:
    """The field lies between two ends; `None` leaves an end open."""

    field: str
    low: Bound | None
    high: Bound | None
    position: int = dataclasses.field(default=0, compare=False)

    def __str__(self) -> str:
        name = write_name(self.field)
        if self.low and self.high:
            return f"{name}:{quote(self.low.text)} TO {quote(self.high.text)}"
        if self.low:
            return f"{name}:>{'=' if self.low.inclusive else ''}{quote(self.low.text)}"
        if self.high:
            return f"{name}:<{'=' if self.high.inclusive else ''}{quote(self.high.text)}"
        return f"{name}:* TO *"


@dataclass(frozen=True)
class Not:
    """What the item does not match."""

    item: Node

    def __str__(self) -> str:
        return f"NOT {_within(self.item)}" if isinstance(self.item, And | Or) else f"-{self.item}"


@dataclass(frozen=True)
class And:
    """What all the items match; everything where there are none."""

    items: tuple[Node, ...] = ()

    def __str__(self) -> str:
        return " AND ".join(map(_within, self.items))


@dataclass(frozen=True)
class Or:
    """What at least one of the items matches."""

    items: tuple[Node, ...]

    def __str__(self) -> str:
        return " OR ".join(map(_within, self.items))


Leaf: TypeAlias = Term | Has | Word | Range
Node: TypeAlias = Leaf | Not | And | Or


@dataclass(frozen=True)
class Query:
    """A parsed query."""

    root: And = And()

    def __str__(self) -> str:
        items = self.root.items
        return str(items[0]) if len(items) == 1 else str(self.root)

    @property
    def key(self) -> str:
        """The same text for every way to write the same query in another order."""
        return " AND ".join(sorted({str(item) for item in self.root.items}))


def all_of(items: Iterable[Node]) -> Node:
    """Put items together that must all match; those of an inner `And` become its own."""
    flat = [one for item in items for one in (item.items if isinstance(item, And) else (item,))]
    return flat[0] if len(flat) == 1 else And(tuple(flat))


def any_of(items: Iterable[Node]) -> Node:
    """Put items together of which one must match."""
    flat = [one for item in items for one in (item.items if isinstance(item, Or) else (item,))]
    return flat[0] if len(flat) == 1 else Or(tuple(flat))


def negated(item: Node) -> Node:
    """Give what an item does not match."""
    return item.item if isinstance(item, Not) else Not(item)


def quote(value: str) -> str:
    """Write a value so that it is read back as it is."""
    return value if _BARE.fullmatch(value) and value.upper() not in KEYWORDS else _quoted(value)


def write_name(name: str) -> str:
    """Write the name of a field, with its key."""
    word, dot, key = name.partition(".")
    return word + dot + (key if not key or _BARE_KEY.fullmatch(key) else _quoted(key))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _within(item: Node) -> str:
    return f"({item})" if isinstance(item, And | Or) else str(item)
