"""Counting matches, in all and by the values of a field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from executions.errors import InvalidInput
from executions.page import Facet
from executions.query.fields import FIELDS, find_field, suggest
from executions.query.plan import Plan, Span, Valued
from executions.registry.connection import RedisClient
from executions.registry.indexes import CHUNK, CHUNK_BYTES, FIELDS_AT_ONCE, chunks_of, popcount
from executions.registry.keys import ShardKeys
from executions.registry.rounds import Steps, batches, by_name, hget, hmget, hscan, run, zcount
from executions.registry.rows import RECORD_WORK, read_fields
from executions.registry.selection import Selection, score_bounds, score_key
from executions.registry.subjects import Subject, codes_of
from executions.registry.values import lex_count
from executions.states import Status

#: Fields that can be counted by value: those that the registry keeps counts of.
COUNTED = tuple(field.name for field in FIELDS.values() if field.counted)

#: Values that are shown of one field, and how many terms of a shard are looked through to find them.
VALUES_SHOWN = 100
_TERMS_SEEN = 10_000
_SCAN_COUNT = 1000

#: At most so many matches are counted by reading their records, where that is less work than combining bitmaps.
_READ_AT_MOST = 2000

#: Bitmap chunks of the values that an estimate reads of all shards, about 30 ms. Of a million executions the counts by
#: status stay exact, and of 70 values one chunk in eleven is read.
SAMPLE_WORK = 12_000

#: Executions that stand for all those of a wide range of times, and in how many places of it they are taken.
_PART = 1000
_PLACES = 40

_STATUS_TERMS = tuple(f"status:{status}" for status in Status)


@dataclass(frozen=True)
class Part:
    """What was counted in one shard, how sure that is, and how many records were read for it."""

    counts: dict[str, Counter[str]]
    is_exact: bool
    is_cut: bool
    scanned: int


def facet_fields(by: str | Iterable[str]) -> tuple[str, ...]:
    """Read the fields to count by; raises `InvalidInput` for one that has no counts."""
    names = [by] if isinstance(by, str) else list(by)
    fields = [find_field(name) for name in names]
    for name, field in zip(names, fields, strict=True):
        if field is None or not field.counted:
            raise InvalidInput(f"cannot count by {name!r}{suggest(name, list(COUNTED))}; count by {', '.join(COUNTED)}")
    return tuple(dict.fromkeys(field.name for field in fields if field))


def count_quickly(client: RedisClient, shards: Sequence[ShardKeys], plan: Plan) -> int | None:
    """Count without bitmaps: everything, the values of one counted field, or one range."""
    terms = _STATUS_TERMS if plan.is_everything else plan.counted_terms
    if terms is not None:
        return sum(run(client, [_sum(keys, terms) for keys in shards]))
    if isinstance(plan.bits, Valued) and plan.created is None and not plan.spans:
        sizes = run(client, [_valued_size(keys, plan.bits) for keys in shards])
        return sum(size for size in sizes if size is not None) if None not in sizes else None
    if plan.bits is None and plan.created is None and len(plan.spans) == 1:
        span = plan.spans[0]
        return sum(run(client, [_span_size(score_key(keys, span.field), score_bounds(span)) for keys in shards]))
    return None


def read_counts(client: RedisClient, shards: Sequence[ShardKeys], fields: Sequence[str]) -> dict[str, Facet]:
    """Give the counts that the registry keeps, over all shards."""
    found: dict[str, Counter[str]] = {field: Counter() for field in fields}
    complete = True
    for counts, is_all in run(client, [_scan_counts(keys, fields) for keys in shards]):
        complete = complete and is_all
        for field, values in counts.items():
            found[field].update(values)
    return {field: _facet(values, complete or field == "status") for field, values in found.items()}


def facet_steps(
    selection: Selection, fields: Sequence[str], values: dict[str, list[str]], work: int | None, share: float
) -> Steps[Part]:
    """Count the settled matches of a shard by the named values of some fields.

    With a bound on the `work`, matches that would take more are counted in chunks spread over all of them. What is
    there may be a `share` of the matches already.
    """
    matches = selection.matches
    total = matches.count()
    found: dict[str, Counter[str]] = {field: Counter() for field in fields}
    chunks = [chunk for chunk, bitmap in matches.chunks.items() if bitmap]
    pairs = [(field, value) for field in fields for value in values[field]]
    if total <= _READ_AT_MOST and total * RECORD_WORK <= len(chunks) * len(pairs):
        rows = yield from read_fields(selection.keys, matches.numbers(), codes_of(fields))
        for execution_id, raw in rows.values():
            for field in fields:
                found[field].update(Subject(execution_id, raw, {}).values(field))
        return _scaled(selection, found, share)
    every = len(chunks)
    chunks = chunks if work is None else _spread(chunks, work // max(1, len(pairs)))
    for some in batches(chunks, FIELDS_AT_ONCE):
        for piece in batches(pairs, max(1, FIELDS_AT_ONCE // len(some))):
            asked = [f"{field}:{value}/{chunk}" for field, value in piece for chunk in some]
            (replies,) = yield [hmget(selection.keys.index, asked)]
            whole = b"".join(matches.chunks[chunk] for chunk in some)
            for at, (field, value) in enumerate(piece):
                found[field][value] += _common(whole, replies[at * len(some) : (at + 1) * len(some)])
    if len(chunks) < every:
        share *= sum(popcount(matches.chunks[chunk]) for chunk in chunks) / total
    return _scaled(selection, found, share)


def _scaled(selection: Selection, found: dict[str, Counter[str]], share: float) -> Part:
    is_exact = share == 1.0
    if not is_exact:
        found = {field: Counter({v: round(n / share) for v, n in counts.items()}) for field, counts in found.items()}
    return Part(found, is_exact, selection.is_cut, selection.scanned)


def _spread(chunks: list[int], most: int) -> list[int]:
    """Give at most so many of the chunks, evenly over all of them."""
    most = max(1, most)
    return chunks if len(chunks) <= most else [chunks[at * len(chunks) // most] for at in range(most)]


def take_part(selection: Selection) -> Steps[float]:
    """Leave in `matches` some of what a wide range selects, spread over it; give which share they are.

    1 where nothing was done: all of it is to be settled then. Taken from the range or from the bitmaps, from what has
    fewer; the one tells of each whether it is in the other.
    """
    matches = selection.matches
    if not selection.wide or not selection.is_exact or selection.plan.created is not None:
        return 1.0
    span, size = min(selection.wide.items(), key=lambda item: item[1])
    many = size
    if not selection.is_bare:
        yield from matches.load_all()
        many = matches.count()
    if min(size, many) <= _PART:
        return 1.0
    if many < size:
        every = matches.numbers()
        part = every[:: -(-len(every) // _PART)]
        kept = yield from selection.within(part)
    else:
        part = yield from _spread_members(selection.keys, span, size)
        yield from matches.load(sorted({number // CHUNK for number in part}))
        kept = yield from selection.within(matches.among(part), [one for one in selection.wide if one != span])
    matches.keep(chunks_of(kept))
    return len(part) / min(size, many)


def _spread_members(keys: ShardKeys, span: Span, size: int) -> Steps[list[int]]:
    """Give some members of a range, in places that lie evenly over it. By rank: an offset would be walked to."""
    key, (low, _) = score_key(keys, span.field), score_bounds(span)
    (first,) = yield [zcount(key, "-inf", low if low == "-inf" else f"({low}")]
    each = _PART // _PLACES
    starts = [first + at * (size - each) // (_PLACES - 1) for at in range(_PLACES)]
    pieces = yield [by_name("zrange", key, start, start + each - 1) for start in starts]
    return list({int(member) for piece in pieces for member in piece})


def merged_facets(parts: Sequence[Part], known: dict[str, Facet]) -> dict[str, Facet]:
    """Add up the counts of all shards."""
    is_exact = all(part.is_exact for part in parts)
    is_whole = is_exact and not any(part.is_cut for part in parts)
    scanned = sum(part.scanned for part in parts)
    found: dict[str, Counter[str]] = {field: Counter() for field in known}
    for part in parts:
        for field, values in part.counts.items():
            found[field].update(values)
    return {
        field: _facet(values, known[field].complete and is_whole, scanned, not is_exact)
        for field, values in found.items()
    }


def _common(whole: bytes, replies: Sequence[bytes | None]) -> int:
    if not any(replies):
        return 0
    other = b"".join((reply or b"").ljust(CHUNK_BYTES, b"\0") for reply in replies)
    return (int.from_bytes(whole, "little") & int.from_bytes(other, "little")).bit_count()


def _facet(values: Counter[str], complete: bool, scanned: int = 0, estimated: bool = False) -> Facet:
    ordered = sorted(((value, n) for value, n in values.items() if n > 0), key=lambda item: (-item[1], item[0]))
    return Facet(dict(ordered[:VALUES_SHOWN]), complete and len(ordered) <= VALUES_SHOWN, scanned, estimated)


def _sum(keys: ShardKeys, terms: Sequence[str]) -> Steps[int]:
    (replies,) = yield [hmget(keys.counts, terms)]
    return sum(int(reply) for reply in replies if reply)


def _valued_size(keys: ShardKeys, leaf: Valued) -> Steps[int | None]:
    """Count values; `None` where not all of them may be in order."""
    number, since, size = yield [hget(keys.meta, "number"), hget(keys.meta, "valued"), lex_count(keys, leaf)]
    return int(size) if since == b"1" or not number else None


def _span_size(key: str, bounds: tuple[str, str]) -> Steps[int]:
    (size,) = yield [zcount(key, *bounds)]
    return int(size)


def _scan_counts(keys: ShardKeys, fields: Sequence[str]) -> Steps[tuple[dict[str, Counter[str]], bool]]:
    """Read the counts of some fields; of a hash with very many terms only a bounded part."""
    found: dict[str, Counter[str]] = {field: Counter() for field in fields}
    if tuple(fields) == ("status",):
        (replies,) = yield [hmget(keys.counts, _STATUS_TERMS)]
        terms: dict[Any, Any] = dict(zip((term.encode() for term in _STATUS_TERMS), replies, strict=True))
        _add(found, terms)
        return found, True
    cursor, seen = 0, 0
    while True:
        ((cursor, terms),) = yield [hscan(keys.counts, cursor, _SCAN_COUNT)]
        # A scan may show a term twice; the values it shows are set, not added.
        _add(found, terms)
        seen += len(terms)
        if not cursor or seen >= _TERMS_SEEN:
            return found, not cursor


def _add(found: dict[str, Counter[str]], terms: dict[bytes, bytes | None]) -> None:
    for term, count in terms.items():
        field, _, value = term.decode(errors="replace").partition(":")
        if field in found and count:
            found[field][value] = int(count)
