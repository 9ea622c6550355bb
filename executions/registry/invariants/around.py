"""What lies in a shard's indexes, orders and lists, and points at nothing, or at something else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from executions.registry.connection import RedisClient
from executions.registry.indexes import CHUNK, EXISTING, has_bit, numbers_in, popcount
from executions.registry.invariants.findings import Finding
from executions.registry.invariants.mending import recount
from executions.registry.invariants.pictures import INDEXED, NOTE_TERM, STARTED_TERM, terms_of_record
from executions.registry.invariants.values import strays
from executions.registry.keys import ShardKeys
from executions.registry.rounds import Ask, Steps, ask, batches, by_name, hget, hmget, hscan, run
from executions.registry.rows import ID_CHUNK, RECORDS_AT_ONCE, raw_fields, read_ids, text

#: Fields of an index, and members of an order, that one command asks for.
FIELDS_READ = 500
MEMBERS_READ = 1000

#: Entries of the event stream that one command asks for, and how far back it is looked through.
EVENTS_READ = 1000
EVENTS_SEEN = 10_000

#: Fields of the index whose values are not counted; `lua/_prelude.lua` has the same.
UNCOUNTED = frozenset({"tag", "bulk", "parent", "root", "name", "has", EXISTING})

#: Bitmap chunks that one count goes through, as one step of the server: some ten milliseconds.
COUNTED_AT_MOST = 20_000

_CODES = (*INDEXED.values(), "tg", "bk", "sd", "nc", "no")


class Around:
    """Looks through one shard, a bounded piece at a time; each step yields what it found."""

    def __init__(self, client: RedisClient, keys: ShardKeys, exact: Set[str] = frozenset()) -> None:
        self._client = client
        #: Fields of the index that were found right already.
        self._exact = exact
        self._keys = keys
        self._sizes: Counter[str] = Counter()

    def index(self) -> Iterator[list[Finding]]:
        """Look for bits that no record asks for, and count the bits of each term on the way."""
        cursor = 0
        while True:
            cursor, raw = self._ask(hscan(self._keys.index, cursor, FIELDS_READ))[0]
            fields = {text(field): bitmap for field, bitmap in raw.items()}
            for field, bitmap in fields.items():
                term = field.rpartition("/")[0]
                if term.partition(":")[0] not in UNCOUNTED:
                    self._sizes[term] += popcount(bitmap)
            unseen = {field: bitmap for field, bitmap in fields.items() if field not in self._exact}
            suspects = run(self._client, [_stray_bits(self._keys, unseen)])[0]
            yield [found for term, number in suspects for found in self._stray_bit(term, number)]
            if not cursor:
                return

    def counts(self) -> Iterator[list[Finding]]:
        """Compare the counts with the bits that `index` has counted."""
        (number,) = self._ask(hget(self._keys.meta, "number"))
        last = int(number or 0) // CHUNK
        cursor = 0
        while last < COUNTED_AT_MOST:
            cursor, raw = self._ask(hscan(self._keys.counts, cursor, FIELDS_READ))[0]
            suspects = []
            for term, count in raw.items():
                if self._sizes.pop(text(term), 0) != int(count):
                    suspects.append(text(term))
            if not cursor:
                suspects += [term for term, size in self._sizes.items() if size]
            yield [found for term in suspects for found in self._wrong_count(term, last)]
            if not cursor:
                return

    def members(self) -> Iterator[list[Finding]]:
        """Look for numbers, in the orders and among the ids, that do not exist."""
        keys = self._keys
        for key in (keys.started, keys.finished, keys.duration):
            for members in self._scan("zscan", key, MEMBERS_READ):
                yield self._stray({int(member) for member, _ in members}, key)
        for entries in self._scan("hscan", keys.ids, MEMBERS_READ // ID_CHUNK):
            numbers = {number for field, packed in entries.items() for number in _numbers(field, packed)}
            yield self._stray(numbers, keys.ids)

    def waiting(self) -> Iterator[list[Finding]]:
        """Look for ids in the outbox and among the stops that have no record."""
        keys = self._keys
        places = (
            (keys.outbox, "zscan", "stale-outbox"),
            (keys.due, "zscan", "stale-outbox"),
            (keys.stops, "hscan", "stale-stop"),
        )
        for key, command, code in places:
            for found in self._scan(command, key, MEMBERS_READ):
                ids = [text(entry[0] if isinstance(entry, tuple) else entry) for entry in found]
                replies = self._ask(*(hget(self._keys.record(one), "no") for one in ids))
                gone = [one for one, number in zip(ids, replies, strict=True) if number is None]
                yield [
                    self._finding(code, one, "it has no record") for one in gone if self._is_there(one, key, command)
                ]

    def marks(self) -> Iterator[list[Finding]]:
        """Look for gaps among the marks, which tell where a time of creation lies."""
        (number,) = self._ask(hget(self._keys.meta, "number"))
        expected = None
        for found in self._scan("zscan", self._keys.marks, MEMBERS_READ):
            have = {int(member) for member, _ in found}
            expected = (expected or set()) | have
        if not expected:
            return
        lowest = min(mark for mark in expected)
        first = CHUNK if lowest == 1 else lowest
        gaps = [mark for mark in range(first, int(number or 0) + 1, CHUNK) if mark not in expected]
        # Marks are trimmed from below, maybe since they were read.
        (oldest,), *scores = self._ask(
            by_name("zrange", self._keys.marks, 0, 0), *(by_name("zscore", self._keys.marks, mark) for mark in gaps)
        )
        real = [mark for mark, score in zip(gaps, scores, strict=True) if score is None and mark > int(oldest)]
        yield [self._finding("missing-mark", self._keys.marks, f"number {mark} has no mark", mark) for mark in real]

    def values(self) -> Iterator[list[Finding]]:
        """Look for properties and metrics that their record does not have."""
        for members in self._scan("zscan", self._keys.values, MEMBERS_READ):
            yield strays(self._client, self._keys, [member for member, _ in members])

    def events(self) -> Iterator[list[Finding]]:
        """Look at the ends that were announced: each must still stand in its status log."""
        highest = "+"
        for _ in range(EVENTS_SEEN // EVENTS_READ):
            (entries,) = self._ask(by_name("xrevrange", self._keys.events, highest, "-", EVENTS_READ))
            ends = [(at, raw) for at, raw in entries if raw[b"s"] not in (b"pending", b"running")]
            yield self._changed(ends)
            if len(entries) < EVENTS_READ:
                return
            highest = f"({text(entries[-1][0])}"

    # -- one step each --

    def _finding(self, code: str, which: str, found: str, number: int | None = None, *terms: str) -> Finding:
        return Finding(code, which, found, self._keys.shard, number, terms)

    def _ask(self, *asks: Ask, transaction: bool = False) -> list[Any]:
        return ask(self._client, *asks, transaction=transaction)

    def _scan(self, command: str, key: str, count: int) -> Iterator[Any]:
        cursor = 0
        while True:
            cursor, found = self._ask(by_name(command, key, cursor, None, count))[0]
            yield found
            if not cursor:
                return

    def _stray_bit(self, term: str, number: int) -> Iterator[Finding]:
        """Look at one suspect again, in one step."""
        keys, chunk = self._keys, number // CHUNK
        known = run(self._client, [read_ids(keys, [number])])[0].get(number, "")
        fields = [f"{term}/{chunk}", f"{EXISTING}/{chunk}"]
        bits, values = self._ask(hmget(keys.index, fields), hmget(keys.record(known), _CODES), transaction=True)
        if not has_bit(bits[0], number):
            return
        raw = raw_fields(_CODES, values)
        if not has_bit(bits[1], number):
            gone = f"{term} holds number {number}, which does not exist"
            yield self._finding("stray-index", f"{term}/{chunk}", gone, number, term)
        elif raw.get("no") == str(number) and not _holds(term, known, raw):
            yield self._finding(
                "stray-index", known, f"it is listed under {term}, its record says otherwise", number, term
            )

    def _wrong_count(self, term: str, last: int) -> Iterator[Finding]:
        kept, found = recount(self._client, self._keys, term, last, write=False)
        if kept != found:
            yield self._finding("wrong-count", term, f"{kept} are counted, {found} are there", None, term)

    def _stray(self, numbers: set[int], key: str) -> list[Finding]:
        """Give those of the numbers that do not exist, also not at a second look that sees both at once."""
        missing = self._missing(numbers)
        if not missing:
            return []
        orders = (self._keys.started, self._keys.finished, self._keys.duration)
        found = []
        for number in sorted(missing):
            chunk, slot = divmod(number, ID_CHUNK)
            (existing,), (packed, odd), *scores = self._ask(
                hmget(self._keys.index, [f"{EXISTING}/{number // CHUNK}"]),
                hmget(self._keys.ids, [chunk, f"x{number}"]),
                *(by_name("zscore", order, number) for order in orders),
                transaction=True,
            )
            has_id = odd or any((packed or b"")[slot * 16 : slot * 16 + 16])
            if not has_bit(existing, number) and (has_id or any(score is not None for score in scores)):
                found.append(self._finding("stray-member", key, f"number {number} does not exist", number))
        return found

    def _missing(self, numbers: set[int]) -> set[int]:
        chunks = sorted({number // CHUNK for number in numbers})
        bitmaps: dict[int, bytes | None] = {}
        for piece in batches(chunks, FIELDS_READ):
            (replies,) = self._ask(hmget(self._keys.index, [f"{EXISTING}/{chunk}" for chunk in piece]))
            bitmaps.update(zip(piece, replies, strict=True))
        return {number for number in numbers if not has_bit(bitmaps[number // CHUNK], number)}

    def _is_there(self, execution_id: str, key: str, command: str) -> bool:
        keys = self._keys
        held = by_name("zscore", key, execution_id) if command == "zscan" else hget(key, execution_id)
        record, entry = self._ask(hget(keys.record(execution_id), "no"), held, transaction=True)
        return record is None and entry is not None

    def _changed(self, ends: Sequence[tuple[bytes, Mapping[bytes, bytes]]]) -> list[Finding]:
        found = []
        for piece in batches(ends, RECORDS_AT_ONCE):
            records = [self._keys.record(text(end[b"i"])) for _, end in piece]
            now = self._ask(*(hmget(record, ("cr", "ls")) for record in records))
            # An id that was used again began after that end; of a very long log the middle is gone.
            same = [
                (end, hmget(record, range(1, int(length) + 1)))
                for (at, end), record, (created, length) in zip(piece, records, now, strict=True)
                if length and int(created) // 1000 <= int(at.split(b"-")[0]) and int(length) < FIELDS_READ
            ]
            logs = self._ask(*(questions for _, questions in same))
            for (end, _), entries in zip(same, logs, strict=True):
                if not _is_logged(end, entries):
                    words = f"attempt {text(end[b'a'])} ended as {text(end[b's'])}, and its status log does not say so"
                    found.append(self._finding("changed-end", text(end[b"i"]), words))
        return found


def _is_logged(end: Mapping[bytes, bytes], entries: Sequence[bytes | None]) -> bool:
    said = [end[b"s"] + b"/" + end[b"r"], end[b"a"]]
    return any(entry.split(b"|")[:3:2] == said for entry in entries if entry)


def _stray_bits(keys: ShardKeys, fields: Mapping[str, bytes]) -> Steps[list[tuple[str, int]]]:
    """Give the bits that no record seems to ask for, as term and number."""
    places = {field: (term, int(chunk)) for field in fields for term, _, chunk in [field.rpartition("/")]}
    chunks = sorted({chunk for _, chunk in places.values()})
    existing: dict[int, bytes | None] = {}
    for piece in batches(chunks, FIELDS_READ):
        (replies,) = yield [hmget(keys.index, [f"{EXISTING}/{chunk}" for chunk in piece])]
        existing.update(zip(piece, replies, strict=True))
    listed: dict[int, list[str]] = {}
    found = []
    for field, (term, chunk) in places.items():
        for number in numbers_in(chunk, fields[field]) if term != EXISTING else ():
            if has_bit(existing[chunk], number):
                listed.setdefault(number, []).append(term)
            else:
                found.append((term, number))
    for some in batches(sorted(listed), RECORDS_AT_ONCE):
        known = yield from read_ids(keys, some)
        replies = yield [hmget(keys.record(known[number]), _CODES) for number in some if number in known]
        for number, reply in zip((number for number in some if number in known), replies, strict=True):
            raw = raw_fields(_CODES, reply)
            found += [(term, number) for term in listed[number] if not _holds(term, known[number], raw)]
    return found


def _holds(term: str, execution_id: str, raw: Mapping[str, str]) -> bool:
    """Tell whether a record is rightly listed under a term; what we know nothing of is not ours to judge."""
    name, _, value = term.partition(":")
    if name in INDEXED:
        return raw.get(INDEXED[name]) == value
    if name in ("tag", "bulk") or term in (STARTED_TERM, NOTE_TERM):
        try:
            return term in terms_of_record(execution_id, raw)
        except ValueError:
            return True
    return True


def _numbers(field: bytes, packed: bytes) -> list[int]:
    """Give the numbers whose ids one field of the ids holds."""
    if field.startswith(b"x"):
        return [int(field[1:])]
    return [int(field) * ID_CHUNK + at // 16 for at in range(0, len(packed), 16) if any(packed[at : at + 16])]
