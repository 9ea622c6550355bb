"""Counting matches, in all and by the values of a field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from executions.errors import InvalidInput
from executions.page import Facet
from executions.query.fields import FIELDS, find_field, suggest
from executions.query.plan import Plan, Valued
from executions.registry.connection import RedisClient
from executions.registry.indexes import CHUNK_BYTES, FIELDS_AT_ONCE
from executions.registry.keys import ShardKeys
from executions.registry.rounds import Steps, batches, hget, hmget, hscan, run, zcount
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

_STATUS_TERMS = tuple(f"status:{status}" for status in Status)


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
    selection: Selection, fields: Sequence[str], values: dict[str, list[str]]
) -> Steps[dict[str, Counter[str]]]:
    """Count the settled matches of a shard by the named values of some fields."""
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
        return found
    for some in batches(chunks, FIELDS_AT_ONCE):
        for piece in batches(pairs, max(1, FIELDS_AT_ONCE // len(some))):
            asked = [f"{field}:{value}/{chunk}" for field, value in piece for chunk in some]
            (replies,) = yield [hmget(selection.keys.index, asked)]
            whole = b"".join(matches.chunks[chunk] for chunk in some)
            for at, (field, value) in enumerate(piece):
                found[field][value] += _common(whole, replies[at * len(some) : (at + 1) * len(some)])
    return found


def merged_facets(
    parts: Iterable[dict[str, Counter[str]]], known: dict[str, Facet], seen: Sequence[Selection]
) -> dict[str, Facet]:
    """Add up the counts of all shards."""
    is_whole = not any(selection.is_cut for selection in seen)
    scanned = sum(selection.scanned for selection in seen)
    found: dict[str, Counter[str]] = {field: Counter() for field in known}
    for part in parts:
        for field, values in part.items():
            found[field].update(values)
    return {field: _facet(values, known[field].complete and is_whole, scanned) for field, values in found.items()}


def _common(whole: bytes, replies: Sequence[bytes | None]) -> int:
    if not any(replies):
        return 0
    other = b"".join((reply or b"").ljust(CHUNK_BYTES, b"\0") for reply in replies)
    return (int.from_bytes(whole, "little") & int.from_bytes(other, "little")).bit_count()


def _facet(values: Counter[str], complete: bool, scanned: int = 0) -> Facet:
    ordered = sorted(((value, n) for value, n in values.items() if n > 0), key=lambda item: (-item[1], item[0]))
    return Facet(dict(ordered[:VALUES_SHOWN]), complete and len(ordered) <= VALUES_SHOWN, scanned)


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
