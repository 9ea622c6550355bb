"""One execution with everything that points at it, read together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from executions.registry.connection import RedisClient
from executions.registry.indexes import CHUNK, FIELDS_AT_ONCE, has_bit, numbers_in
from executions.registry.invariants.statuslog import LOG_FIRST, expected_entries
from executions.registry.keys import ShardKeys
from executions.registry.rounds import Ask, Steps, batches, by_name, hmget, run, zmscore
from executions.registry.rows import raw_fields, text
from executions.states import Status

#: What of a record is looked at; the large fields stay on the server.
CODES = (
    "v", "no", "st", "rs", "at", "cr", "qd", "sd", "fi", "ex", "eta", "dl", "ck", "po", "fn", "sv", "pl", "sg", "qu",
    "wk", "pa", "ro", "nm", "tg", "op", "tt", "ls", "gc", "gb", "bk", "nc", "vx",
)  # fmt: skip

#: Which part of a record is listed under which field of the index.
INDEXED = {
    "status": "st", "function": "fn", "worker": "wk", "service": "sv", "queue": "qu", "pipeline": "pl", "stage": "sg",
    "parent": "pa", "root": "ro", "name": "nm", "commit": "gc", "branch": "gb",
}  # fmt: skip

STARTED_TERM, NOTE_TERM = "has:started", "has:note"
STATUS_TERMS = tuple(f"status:{status}" for status in Status)

#: Archived attempts that are looked for, the newest.
ATTEMPTS_SEEN = 20

#: Bits from which on it pays to remember that a field of the index was found right.
LARGER = 8

_ENTRIES = tuple(str(number) for number in range(1, LOG_FIRST + 1))
_READ = (*CODES, *_ENTRIES)
_TRIES = 5

Scores = dict[str, float | None]


@dataclass(frozen=True)
class Picture:
    """What was read of one execution at one moment."""

    shard: int
    number: int
    id: str
    raw: Mapping[str, str]
    #: Of the terms that it should be listed under, and of all statuses, those whose bit is set.
    terms: frozenset[str] = frozenset()
    scores: Scores = field(default_factory=dict)
    in_outbox: bool = False
    #: When its message is owed (us), where it is among the due.
    due_us: float | None = None
    stop: str = ""
    #: Seconds that the record has left; -1 for ever.
    life_s: int = -1
    #: Numbers of earlier attempts that were put aside.
    archived: frozenset[int] = frozenset()

    @property
    def attempt(self) -> int:
        return int(self.raw.get("at", 0))

    @property
    def length(self) -> int:
        """Entries that were ever written to the status log."""
        return int(self.raw.get("ls", 0))

    @property
    def log(self) -> dict[int, str]:
        """The entries of the status log."""
        return {int(code): entry for code, entry in self.raw.items() if code.isdigit()}


def terms_of_record(execution_id: str, raw: Mapping[str, str]) -> set[str]:
    """Give the terms that a record is to be listed under."""
    found = {f"{name}:{raw[code]}" for name, code in INDEXED.items() if raw.get(code)}
    found.discard(f"root:{execution_id}")
    found.update(f"tag:{tag}" for tag in (json.loads(raw["tg"]) if raw.get("tg") else ()))
    found.update(f"bulk:{one}" for one in raw.get("bk", "").split())
    if raw.get("sd"):
        found.add(STARTED_TERM)
    if raw.get("nc"):
        found.add(NOTE_TERM)
    return found


def read_raw(keys: ShardKeys, execution_ids: Sequence[str]) -> Steps[list[dict[str, str]]]:
    """Read what is looked at of some records; an empty one where there is none."""
    replies = yield [hmget(keys.record(one), _READ) for one in execution_ids]
    return [raw_fields(_READ, reply) for reply in replies]


def read_pictures(
    keys: ShardKeys, known: Mapping[int, str], raws: Sequence[dict[str, str]], *, again: bool = False
) -> Steps[tuple[list[Picture], set[str]]]:
    """Read what points at some executions of one chunk, `again` with their records.

    Gives with the pictures those larger fields of the index that hold exactly what these records ask for.
    """
    numbers, ids = list(known), list(known.values())
    if not numbers:
        return [], set()
    chunk = numbers[0] // CHUNK
    terms = sorted({*STATUS_TERMS, *(term for one, raw in zip(ids, raws, strict=True) for term in _terms(one, raw))})
    pieces = batches(terms, FIELDS_AT_ONCE)
    asks = [hmget(keys.index, [f"{term}/{chunk}" for term in piece]) for piece in pieces]
    asks += [zmscore(key, numbers) for key in (keys.started, keys.finished, keys.duration)]
    asks += [*(by_name("zmscore", key, ids) for key in (keys.outbox, keys.due)), hmget(keys.stops, ids)]
    more = [_more(keys, one, raw, again) for one, raw in zip(ids, raws, strict=True)]
    replies = yield [*asks, *(ask for some in more for ask in some)]
    bitmaps = dict(zip(terms, (bits for piece in replies[: len(pieces)] for bits in piece), strict=True))
    started, finished, duration, outbox, due, stops = replies[len(pieces) : len(asks)]
    rest, at = replies[len(asks) :], 0
    found = []
    for place, (number, one, raw) in enumerate(zip(numbers, ids, raws, strict=True)):
        mine, at = rest[at : at + len(more[place])], at + len(more[place])
        scores = {"started": started[place], "finished": finished[place], "duration": duration[place]}
        set_terms = frozenset(term for term in {*STATUS_TERMS, *_terms(one, raw)} if has_bit(bitmaps[term], number))
        stop = text(stops[place]) if stops[place] else ""
        seen = _Seen(set_terms, scores, outbox[place] is not None, due[place], stop)
        found.append(_picture((keys.shard, number, one), raw, seen, mine, again))
    return found, _exact(found, bitmaps, chunk)


def _exact(pictures: Sequence[Picture], bitmaps: Mapping[str, bytes | None], chunk: int) -> set[str]:
    listed: dict[str, list[int]] = {}
    for picture in pictures:
        for term in _terms(picture.id, picture.raw):
            listed.setdefault(term, []).append(picture.number)
    return {
        f"{term}/{chunk}"
        for term, numbers in listed.items()
        if len(numbers) >= LARGER and numbers_in(chunk, bitmaps.get(term) or b"") == sorted(numbers)
    }


@dataclass(frozen=True)
class _Seen:
    """What of the shared structures is about one execution."""

    terms: frozenset[str]
    scores: Scores
    in_outbox: bool
    due_us: float | None
    stop: str


def read_still(client: RedisClient, keys: ShardKeys, number: int, execution_id: str) -> Picture | None:
    """Read one execution in a single step; nothing where it moves on faster than it can be read."""
    (raws,) = run(client, [read_raw(keys, [execution_id])])
    for _ in range(_TRIES):
        steps = read_pictures(keys, {number: execution_id}, raws, again=True)
        (((picture,), _),) = run(client, [steps], transaction=True)
        seen = {code: value for code, value in picture.raw.items() if code in _READ}
        if seen == raws[0]:
            return picture
        raws = [seen]
    return None


def _terms(execution_id: str, raw: Mapping[str, str]) -> set[str]:
    try:
        return terms_of_record(execution_id, raw)
    except ValueError:
        return set()


def _archives(raw: Mapping[str, str]) -> range:
    """Give the numbers of the attempts that must have been put aside, as far as they are looked for."""
    text_of = raw.get("at", "0")
    last = int(text_of) if text_of.isdigit() else 0
    end = last + 1 if raw.get("st") == Status.PENDING else last
    return range(max(1, end - ATTEMPTS_SEEN), end)


def _late_entries(raw: Mapping[str, str]) -> list[str]:
    length = raw.get("ls", "0")
    return [str(number) for number in expected_entries(int(length) if length.isdigit() else 0)[LOG_FIRST:]]


def _more(keys: ShardKeys, execution_id: str, raw: Mapping[str, str], again: bool) -> list[Ask]:
    """Ask for what is kept beside or deep inside of one record."""
    record = keys.record(execution_id)
    asks = [by_name("ttl", record), *(by_name("hexists", record, f"a{k}") for k in _archives(raw))]
    entries = _late_entries(raw)
    if entries:
        asks.append(hmget(record, entries))
    if again:
        asks.append(hmget(record, _READ))
    return asks


def _picture(
    which: tuple[int, int, str], raw: dict[str, str], seen: _Seen, replies: Sequence[Any], again: bool
) -> Picture:
    archives, entries = _archives(raw), _late_entries(raw)
    there = replies[1 : 1 + len(archives)]
    latest = raw_fields(_READ, replies[-1]) if again else raw
    if entries:
        latest = {**latest, **raw_fields(entries, replies[1 + len(archives)])}
    return Picture(
        *which,
        raw=latest,
        terms=seen.terms,
        scores=seen.scores,
        in_outbox=seen.in_outbox,
        due_us=seen.due_us,
        stop=seen.stop,
        life_s=int(replies[0]),
        archived=frozenset(k for k, found in zip(archives, there, strict=True) if found),
    )
