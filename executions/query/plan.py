"""How a query is answered: which bitmaps are combined, which ranges hold, what the records must tell.

A plan knows nothing of Redis. `bits` is an expression over what the registry has indexes for. Where only the records
know, it holds `RECORDS`, of which nothing is known: `bounds` then gives the narrowest expression that no match lies
outside of, and the registry looks at the records of what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from executions.query import times
from executions.query.conditions import CONDITIONS
from executions.query.fields import FIELDS, Kind, Match, split_name
from executions.query.meaning import WORDS, fields_of, ranges_of
from executions.query.tree import And, Bound, Has, Node, Not, Or, Query, Range, Term, Word
from executions.query.values import NAME_MOST, Value, end_of, is_whole, meant_by
from executions.states import REASONS


@dataclass(frozen=True)
class Span:
    """A field's value lies between two whole numbers, microseconds where it is a time, both included."""

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
class Beginning:
    """The numbers in the bitmaps of all values of a counted field that begin so; any value where it is empty."""

    field: str
    text: str


@dataclass(frozen=True)
class Ids:
    """The numbers of these executions."""

    ids: tuple[str, ...]


@dataclass(frozen=True)
class Within:
    """The numbers whose value lies in a span; only used where the registry has read them all."""

    span: Span


@dataclass(frozen=True)
class Valued:
    """The numbers whose property or metric lies between two values, or has one at all."""

    field: str
    low: float | str | None = None
    high: float | str | None = None
    low_included: bool = True
    high_included: bool = True


@dataclass(frozen=True)
class Earlier:
    """The numbers of executions whose values an earlier version recorded and did not put in order."""


@dataclass(frozen=True)
class OnRecords:
    """Numbers that only the records know."""


@dataclass(frozen=True)
class All:
    """The numbers in every one of these: all there are, where these are none."""

    items: tuple[Bits, ...]


@dataclass(frozen=True)
class AnyOf:
    """The numbers in at least one of these: none, where these are none."""

    items: tuple[Bits, ...]


@dataclass(frozen=True)
class Without:
    """The existing numbers that are not in this."""

    item: Bits


Leaf: TypeAlias = Bit | Beginning | Ids | Within | Valued | Earlier | OnRecords
Bits: TypeAlias = Leaf | All | AnyOf | Without

RECORDS = OnRecords()
EVERYTHING = All(())
NOTHING = AnyOf(())


@dataclass(frozen=True)
class Plan:
    """How one query is answered at one time."""

    query: Query
    #: `None` where nothing but ranges narrows the query.
    bits: Bits | None
    #: Ranges over started, finished and duration that must hold, one for each field.
    spans: tuple[Span, ...]
    created: Span | None
    #: The ranges that stand inside of something, for those that look at records.
    inner: Mapping[Range, Span]

    @property
    def is_everything(self) -> bool:
        """Whether every execution matches."""
        return not self.query.root.items

    @property
    def has_words(self) -> bool:
        """Whether words are looked for, for which much of a record has to be read."""
        return WORDS in fields_of(self.query.root)

    @property
    def counted_terms(self) -> tuple[str, ...] | None:
        """The terms whose counts add up to the number of matches, where the query is as simple as that."""
        items = self.query.root.items
        term = items[0] if len(items) == 1 else None
        if not isinstance(term, Term) or term.match is not Match.IS or not split_name(term.field)[0].counted:
            return None
        return tuple(f"{term.field}:{value}" for value in term.values)


def make_plan(query: Query, now_us: int) -> Plan:
    """Plan a query; relative times count from `now_us`."""
    spans: dict[str, Span] = {}
    inner: dict[Range, Span] = {}
    bits: list[Bits] = []
    query = Query(And(tuple(map(_turned, query.root.items))))
    for item in query.root.items:
        if isinstance(item, Range) and split_name(item.field)[0].ordered:
            span = _span(item, now_us)
            spans[item.field] = spans[item.field].and_also(span) if item.field in spans else span
            continue
        inner |= {one: _span(one, now_us) for one in ranges_of(item) if not split_name(one.field)[0].is_keyed}
        bits.append(_bits(item, inner))
    created = spans.pop("created", None)
    return Plan(query, all_of(bits) if bits else None, tuple(spans.values()), created, inner)


def _turned(item: Node) -> Node:
    """Write "not since then" as "before then": the order of creation answers that, and every execution was created."""
    inner = item.item if isinstance(item, Not) else None
    if not isinstance(inner, Range) or inner.field != "created" or (inner.low is None) == (inner.high is None):
        return item
    low, high = (bound and Bound(bound.text, not bound.inclusive) for bound in (inner.high, inner.low))
    return Range(inner.field, low, high, inner.position)


def is_relative(query: Query) -> bool:
    """Whether the query means something else at another time."""
    ranges = [item for item in ranges_of(query.root) if split_name(item.field)[0].kind is Kind.TIME]
    return any(times.is_relative(bound.text) for item in ranges for bound in (item.low, item.high) if bound)


def all_of(items: Iterable[Bits]) -> Bits:
    """Put expressions together that must all hold."""
    flat = [one for item in items for one in (item.items if isinstance(item, All) else (item,))]
    if NOTHING in flat:
        return NOTHING
    return flat[0] if len(flat) == 1 else All(tuple(flat))


def any_of(items: Iterable[Bits]) -> Bits:
    """Put expressions together of which one must hold."""
    flat = [one for item in items for one in (item.items if isinstance(item, AnyOf) else (item,))]
    if EVERYTHING in flat:
        return EVERYTHING
    return flat[0] if len(flat) == 1 else AnyOf(tuple(flat))


def without(item: Bits) -> Bits:
    """Give the complement of an expression."""
    if item in (EVERYTHING, NOTHING):
        return NOTHING if item == EVERYTHING else EVERYTHING
    return item.item if isinstance(item, Without) else Without(item)


def leaves_of(bits: Bits | None) -> list[Leaf]:
    """Give the leaves of an expression."""
    match bits:
        case None:
            return []
        case All() | AnyOf():
            return [leaf for item in bits.items for leaf in leaves_of(item)]
        case Without():
            return leaves_of(bits.item)
        case _:
            return [bits]


def bounds(bits: Bits, resolved: Callable[[Leaf], tuple[Bits, Bits] | None]) -> tuple[Bits, Bits]:
    """Give what surely matches and what may match; `resolved` gives the same for a leaf, where something is known."""
    match bits:
        case All() | AnyOf():
            join = all_of if isinstance(bits, All) else any_of
            pairs = [bounds(item, resolved) for item in bits.items]
            return join(sure for sure, _ in pairs), join(may for _, may in pairs)
        case Without():
            sure, may = bounds(bits.item, resolved)
            return without(may), without(sure)
        case _:
            found = None if isinstance(bits, OnRecords) else resolved(bits)
            return found or (NOTHING, EVERYTHING)


def _bits(node: Node, inner: Mapping[Range, Span]) -> Bits:
    match node:
        case Term():
            return _term_bits(node, inner)
        case Has():
            return _has_bits(node.field)
        case Word():
            return RECORDS
        case Range():
            return _range_bits(node, inner)
        case Not():
            return without(_bits(node.item, inner))
        case And():
            return all_of(_bits(item, inner) for item in node.items)
        case Or():
            return any_of(_bits(item, inner) for item in node.items)


def _term_bits(term: Term, inner: Mapping[Range, Span]) -> Bits:
    field, _ = split_name(term.field)
    if field.kind is Kind.CONDITION:
        return any_of(_bits(CONDITIONS[value], inner) for value in term.values)
    if field.kind is Kind.REASON:
        statuses = [status for status, reasons in REASONS.items() if reasons & set(term.values)]
        return all_of([any_of(Bit(f"status:{status}") for status in statuses), RECORDS])
    if field.kind is Kind.PROPERTY:
        return _property_bits(term)
    if term.match is Match.BEGINS and field.counted:
        return any_of(Beginning(field.name, value) for value in term.values)
    if field.name == "note":
        return all_of([_has_bits(field.name), RECORDS])
    if term.match is not Match.IS or not field.indexed:
        return RECORDS
    if field.name == "id":
        return Ids(term.values)
    terms: list[Bits] = [Bit(f"{term.field}:{value}") for value in term.values]
    # The root itself belongs to what is below it, but its record does not name itself.
    return any_of([*terms, Ids(term.values)] if field.name == "root" else terms)


def _valued(name: str, low: Value | None, high: Value | None, low_included: bool, high_included: bool) -> Bits:
    """Give what an index of values tells: of a long name nothing, of a long text only where it begins."""
    if len(split_name(name)[1].encode()) > NAME_MOST:
        return RECORDS
    if is_whole(low) and is_whole(high):
        return Valued(name, low, high, low_included, high_included)
    return all_of([Valued(name, low, high), RECORDS])


def _property_bits(term: Term) -> Bits:
    if term.match is not Match.IS:
        return all_of([_valued(term.field, None, None, True, True), RECORDS])
    found: list[Bits] = []
    for value in term.values:
        found += [_valued(term.field, one, one, True, True) for one in meant_by(value)]
    return any_of(found)


def _has_bits(name: str) -> Bits:
    field, _ = split_name(name)
    if field.is_keyed:
        return _valued(name, None, None, True, True)
    if field.name in ("started", "note"):
        return Bit(f"has:{field.name}")
    return Beginning(field.name, "") if field.counted else RECORDS


def _range_bits(item: Range, inner: Mapping[Range, Span]) -> Bits:
    field, _ = split_name(item.field)
    if not field.is_keyed:
        return Within(inner[item]) if field.ordered and field.name != "created" else RECORDS
    low, high = end_of(item.low), end_of(item.high)
    return _valued(
        item.field, low, high, item.low is None or item.low.inclusive, item.high is None or item.high.inclusive
    )


def _span(item: Range, now_us: int) -> Span:
    kind = FIELDS[item.field].kind

    def period(bound: Bound) -> tuple[int, int]:
        if kind is Kind.TIME:
            return times.read_moment(bound.text, now_us)
        number = times.read_length(bound.text) if kind is Kind.DURATION else int(bound.text)
        return number, number + 1

    low = high = None
    if item.low:
        start, end = period(item.low)
        low = start if item.low.inclusive else end
    if item.high:
        start, end = period(item.high)
        high = end - 1 if item.high.inclusive else start - 1
    return Span(item.field, low, high)
