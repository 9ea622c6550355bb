"""How a query is answered: which bitmaps are combined, which ranges hold, what the records must tell.

A plan knows nothing of Redis. `bits` is an expression over the registry's bitmaps that gives every match and,
where some field has no bitmap, more than the matches; the registry then looks at the records of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from executions.query import times
from executions.query.fields import FIELDS, Kind
from executions.query.tree import And, Bound, Node, Not, Query, Range, Term
from executions.states import REASONS


@dataclass(frozen=True)
class Span:
    """A field's value lies between two whole numbers of microseconds, both included."""

    field: str
    low: int | None
    high: int | None

    def holds(self, value: int) -> bool:
        """Tell whether a value lies in it."""
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def and_also(self, other: Span) -> Span:
        """Give what two spans of one field have in common."""
        lows = [low for low in (self.low, other.low) if low is not None]
        highs = [high for high in (self.high, other.high) if high is not None]
        return Span(self.field, max(lows, default=None), min(highs, default=None))


@dataclass(frozen=True)
class Bit:
    """The numbers in one bitmap."""

    term: str


@dataclass(frozen=True)
class Ids:
    """The numbers of these executions."""

    ids: tuple[str, ...]


@dataclass(frozen=True)
class Within:
    """The numbers whose value lies in a span; only used where the registry has read them all."""

    span: Span


@dataclass(frozen=True)
class All:
    """The numbers in every one of these."""

    items: tuple[Bits, ...]


@dataclass(frozen=True)
class AnyOf:
    """The numbers in at least one of these."""

    items: tuple[Bits, ...]


@dataclass(frozen=True)
class Without:
    """The existing numbers that are not in this."""

    item: Bits


Bits: TypeAlias = Bit | Ids | Within | All | AnyOf | Without


@dataclass(frozen=True)
class Plan:
    """How one query is answered at one time."""

    query: Query
    #: `None` where no bitmap narrows the query.
    bits: Bits | None
    #: Ranges over started, finished and duration, one for each field.
    spans: tuple[Span, ...]
    created: Span | None
    #: Fields of the query that only the records know.
    unindexed: frozenset[str]

    @property
    def is_everything(self) -> bool:
        """Whether every execution matches."""
        return not self.query.root.items

    @property
    def counted_terms(self) -> tuple[str, ...] | None:
        """The terms whose counts add up to the number of matches, where the query is as simple as that."""
        items = self.query.root.items
        if len(items) != 1 or not isinstance(items[0], Term) or not FIELDS[items[0].field].counted:
            return None
        return tuple(f"{items[0].field}:{value}" for value in items[0].values)


def make_plan(query: Query, now_us: int) -> Plan:
    """Plan a query; relative times count from `now_us`."""
    spans: dict[str, Span] = {}
    bits: list[Bits] = []
    unindexed: set[str] = set()
    for item in query.root.items:
        if isinstance(item, Range):
            span = _span(item, now_us)
            spans[item.field] = spans[item.field].and_also(span) if item.field in spans else span
            continue
        unindexed |= _unindexed(item)
        narrowed = _bits(item)
        if narrowed is not None:
            bits.append(narrowed)
    created = spans.pop("created", None)
    return Plan(query, _all(bits), tuple(spans.values()), created, frozenset(unindexed))


def is_relative(query: Query) -> bool:
    """Whether the query means something else at another time."""
    bounds = [bound for item in query.root.items if isinstance(item, Range) for bound in (item.low, item.high) if bound]
    return any(times.is_relative(bound.text) for bound in bounds)


def _all(items: list[Bits]) -> Bits | None:
    if not items:
        return None
    return items[0] if len(items) == 1 else All(tuple(items))


def _bits(node: Node) -> Bits | None:
    """Give an expression that no match lies outside of; `None` where nothing is known."""
    match node:
        case Term():
            return _term_bits(node)
        case Not():
            # What is known of an unindexed field is too much; its complement would be too little.
            inner = None if _unindexed(node.item) else _bits(node.item)
            return None if inner is None else Without(inner)
        case And():
            return _all([bits for item in node.items if (bits := _bits(item)) is not None])
        case Range():
            return None


def _term_bits(term: Term) -> Bits | None:
    if term.field == "reason":
        statuses = [status for status, reasons in REASONS.items() if reasons & set(term.values)]
        return _any([Bit(f"status:{status}") for status in statuses])
    if term.field == "id":
        return Ids(term.values)
    if not FIELDS[term.field].indexed:
        return None
    terms: list[Bits] = [Bit(f"{term.field}:{value}") for value in term.values]
    # The root itself belongs to what is below it, but its record does not name itself.
    return _any([*terms, Ids(term.values)] if term.field == "root" else terms)


def _any(items: list[Bits]) -> Bits:
    return items[0] if len(items) == 1 else AnyOf(tuple(items))


def _unindexed(node: Node) -> frozenset[str]:
    match node:
        case Term():
            return frozenset() if FIELDS[node.field].indexed else frozenset((node.field,))
        case Not():
            return _unindexed(node.item)
        case And():
            return frozenset().union(*(_unindexed(item) for item in node.items))
        case Range():
            return frozenset()


def _span(item: Range, now_us: int) -> Span:
    is_time = FIELDS[item.field].kind is Kind.TIME

    def period(bound: Bound) -> tuple[int, int]:
        if is_time:
            return times.read_moment(bound.text, now_us)
        length = times.read_length(bound.text)
        return length, length + 1

    low = high = None
    if item.low:
        start, end = period(item.low)
        low = start if item.low.inclusive else end
    if item.high:
        start, end = period(item.high)
        high = end - 1 if item.high.inclusive else start - 1
    return Span(item.field, low, high)
