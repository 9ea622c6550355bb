"""What a tree says of one thing, and what it asks about: whether a thing matches, by which fields and ranges."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Protocol

from executions.query.conditions import CONDITIONS
from executions.query.fields import Match
from executions.query.tree import And, Has, Node, Not, Or, Range, Term, Word

#: Stands among the fields of a query for what its words are looked for in.
WORDS = "a word"


class Subject(Protocol):
    """What a query may ask of a thing."""

    def values(self, field: str) -> Collection[str]:
        """Give its values of a field, as texts."""

    def is_one_of(self, field: str, values: tuple[str, ...]) -> bool:
        """Tell whether one of its values of a field is one of these."""

    def within(self, item: Range) -> bool:
        """Tell whether a range holds."""

    def texts(self) -> Collection[str]:
        """Give the texts that words are looked for in."""


def matches(node: Node, thing: Subject) -> bool:
    """Tell whether a thing matches."""
    match node:
        case Term():
            return _has_value(node, thing)
        case Has():
            return len(thing.values(node.field)) > 0
        case Word():
            text = node.text.casefold()
            return any(text in one.casefold() for one in thing.texts())
        case Range():
            return thing.within(node)
        case Not():
            return not matches(node.item, thing)
        case And():
            return all(matches(item, thing) for item in node.items)
        case Or():
            return any(matches(item, thing) for item in node.items)


def _has_value(term: Term, thing: Subject) -> bool:
    if term.field == "is":
        return any(matches(CONDITIONS[value], thing) for value in term.values)
    if term.match is Match.IS:
        return thing.is_one_of(term.field, term.values)
    values = thing.values(term.field)
    if term.match is Match.BEGINS:
        return any(value.startswith(term.values) for value in values)
    folded = [value.casefold() for value in values]
    return any(text.casefold() in value for text in term.values for value in folded)


def leaves_of(node: Node) -> Iterator[Term | Has | Word | Range]:
    """Give the leaves of a tree; those that a condition stands for in its place."""
    match node:
        case Not():
            yield from leaves_of(node.item)
        case And() | Or():
            for item in node.items:
                yield from leaves_of(item)
        case Term() if node.field == "is":
            for value in node.values:
                yield from leaves_of(CONDITIONS[value])
        case _:
            yield node


def fields_of(node: Node) -> frozenset[str]:
    """Give the fields that a query asks about."""
    return frozenset(WORDS if isinstance(leaf, Word) else leaf.field for leaf in leaves_of(node))


def ranges_of(node: Node) -> list[Range]:
    """Give the ranges in a tree."""
    return [leaf for leaf in leaves_of(node) if isinstance(leaf, Range)]
