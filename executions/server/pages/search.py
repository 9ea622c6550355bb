"""The text in the search box, taken apart just enough to switch a filter on or off.

The text is the one truth: a filter that is chosen by mouse is written into it, and what is written by hand shows
as chosen. What is not touched stays as it was typed. Whether a query means something is for the client to say.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from executions.query.tree import quote

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_TOKEN = re.compile(rf'(?:{_QUOTED}|[^\s"()]|"[^"]*$)+|[()]')
_TERM = re.compile(r"([A-Za-z_]+):(.*)", re.DOTALL)
_VALUE = re.compile(rf"{_QUOTED}|[^,]+")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


def term(field: str, *values: str) -> str:
    """Write that a field has one of these values."""
    return f"{field}:{','.join(map(quote, values))}"


@dataclass(frozen=True)
class Search:
    """A query's text as the items that must all hold."""

    text: str
    items: tuple[str, ...]

    @classmethod
    def read(cls, text: str) -> Search:
        """Take a query apart; one that is more than a list of items is one item."""
        tokens = [match[0] for match in _TOKEN.finditer(text)]
        if any(token.upper() == "OR" or token in "()" for token in tokens):
            return cls(text.strip(), (f"({text.strip()})",))
        return cls(text.strip(), tuple(_joined(tokens)))

    def values(self, field: str) -> tuple[str, ...]:
        """Give the values that a field is restricted to."""
        return tuple(value for item in self.items for value in _values(item, field))

    def without(self, field: str) -> str:
        """Write the query without what it says of a field."""
        rest = self._rest(field)
        return self.text if len(rest) == len(self.items) else _text(rest)

    def only(self, field: str, value: str) -> str:
        """Write the query with a field restricted to one value."""
        return _text([*self._rest(field), term(field, value)])

    def toggled(self, field: str, value: str) -> str:
        """Write the query with one value of a field more, or without it where it has it."""
        chosen = list(self.values(field))
        chosen = [one for one in chosen if one != value] if value in chosen else [*chosen, value]
        rest = self._rest(field)
        return _text([*rest, term(field, *chosen)] if chosen else rest)

    def _rest(self, field: str) -> list[str]:
        return [item for item in self.items if not _values(item, field)]

    def and_also(self, item: str) -> str:
        """Write the query with one more item."""
        return _text([*self.items, item])


def _joined(tokens: Sequence[str]) -> list[str]:
    """Put together what belongs together: `NOT x`, `a TO b`, `field: value`; drop each AND."""
    items: list[str] = []
    open_end = False
    for token in tokens:
        word = token.upper()
        if word == "AND":
            continue
        if items and (open_end or word == "TO"):
            items[-1] = f"{items[-1]} {token}"
        else:
            items.append(token)
        open_end = word in ("NOT", "TO") or token.endswith((":", "=", "<", ">"))
    return items


def _values(item: str, field: str) -> list[str]:
    term = _TERM.fullmatch(item)
    if term is None or term[1].lower() != field or " TO " in item:
        return []
    return [_bare(value) for value in _VALUE.findall(term[2])]


def _bare(value: str) -> str:
    return _ESCAPE.sub(r"\1", value[1:-1]) if value[:1] == '"' else value


def _text(items: Sequence[str]) -> str:
    return " AND ".join(items)
