"""What a query means, as a frozen tree. `str()` of a tree is a query that parses to the same tree."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TypeAlias

_BARE = re.compile(r"[\w@.:/+#%\-]+")
KEYWORDS = frozenset({"AND", "OR", "NOT", "TO"})


@dataclass(frozen=True)
class Term:
    """The field has one of these values."""

    field: str
    values: tuple[str, ...]
    position: int = dataclasses.field(default=0, compare=False)

    def __str__(self) -> str:
        return f"{self.field}:{','.join(quote(value) for value in self.values)}"


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
        if self.low and self.high:
            return f"{self.field}:{quote(self.low.text)} TO {quote(self.high.text)}"
        if self.low:
            return f"{self.field}:>{'=' if self.low.inclusive else ''}{quote(self.low.text)}"
        if self.high:
            return f"{self.field}:<{'=' if self.high.inclusive else ''}{quote(self.high.text)}"
        return f"{self.field}:* TO *"


@dataclass(frozen=True)
class Not:
    """What the item does not match."""

    item: Node

    def __str__(self) -> str:
        return f"-{self.item}"


@dataclass(frozen=True)
class And:
    """What all the items match; everything where there are none."""

    items: tuple[Node, ...] = ()

    def __str__(self) -> str:
        return " AND ".join(str(item) for item in self.items)


Node: TypeAlias = Term | Range | Not | And


@dataclass(frozen=True)
class Query:
    """A parsed query."""

    root: And = And()

    def __str__(self) -> str:
        return str(self.root)

    @property
    def key(self) -> str:
        """The same text for every way to write the same query in another order."""
        return " AND ".join(sorted({str(item) for item in self.root.items}))


def quote(value: str) -> str:
    """Write a value so that it is read back as it is."""
    if _BARE.fullmatch(value) and value.upper() not in KEYWORDS:
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def matches(node: Node, values: Callable[[str], Collection[str]], within: Callable[[Range], bool]) -> bool:
    """Tell whether a thing matches: `values` gives its values of a field, `within` whether a range holds."""
    match node:
        case Term():
            return any(value in node.values for value in values(node.field))
        case Range():
            return within(node)
        case Not():
            return not matches(node.item, values, within)
        case And():
            return all(matches(item, values, within) for item in node.items)


def fields_of(node: Node) -> frozenset[str]:
    """Give the fields that a query names."""
    match node:
        case Term() | Range():
            return frozenset((node.field,))
        case Not():
            return fields_of(node.item)
        case And():
            return frozenset().union(*(fields_of(item) for item in node.items))
