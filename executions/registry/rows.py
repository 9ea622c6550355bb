"""From numbers to ids to records: the last step of every list."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from executions import ids
from executions.clock import to_datetime
from executions.execution import Execution
from executions.query.meaning import fields_of, matches
from executions.query.plan import Plan
from executions.registry import submission as submissions
from executions.registry.keys import ShardKeys
from executions.registry.outcomes import Accepted
from executions.registry.records import FORMAT, SUMMARY_FIELDS, decode_record
from executions.registry.rounds import RECORDS_OF_A_COMMAND, Steps, batches, hmget, read_parts
from executions.registry.subjects import NAMES, PROPERTY, Raw, Subject, codes_of
from executions.registry.submission import Submission
from executions.states import Reason

#: Numbers whose ids lie together; `lua/_prelude.lua` has the same.
ID_CHUNK = 64
_ID_BYTES = 16

#: Chunks of ids (1 KiB each), and records, that one round asks for.
IDS_AT_ONCE = 256
RECORDS_AT_ONCE = 500

#: Reading one record costs as much as reading so many bitmap chunks.
RECORD_WORK = 10

#: Looking for a word in a record costs as much as reading so many records.
WORD_WORK = 3


def accepts(plan: Plan, execution_id: str, raw: Raw) -> bool:
    """Tell whether the record itself matches.

    The bitmaps were read a moment earlier, and know neither every field nor the exact time of creation. The
    ranges over started, finished and duration that must hold are answered by their sorted sets alone.
    """
    if plan.created and not plan.created.holds(int(raw.get("cr", 0))):
        return False
    return matches(plan.query.root, Subject(execution_id, raw, plan.inner))


def read_ids(keys: ShardKeys, numbers: Sequence[int]) -> Steps[dict[int, str]]:
    """Give the ids of numbers; the numbers of pruned executions are left out."""
    found: dict[int, str] = {}
    wanted = sorted({number // ID_CHUNK for number in numbers})
    packed: dict[int, bytes] = {}
    for piece in batches(wanted, IDS_AT_ONCE):
        (replies,) = yield [hmget(keys.ids, piece)]
        packed.update((chunk, reply or b"") for chunk, reply in zip(piece, replies, strict=True))
    odd = []
    for number in numbers:
        at = number % ID_CHUNK * _ID_BYTES
        raw = packed[number // ID_CHUNK][at : at + _ID_BYTES]
        if any(raw):
            found[number] = ids.unpack(raw)
        else:
            odd.append(number)
    for some in batches(odd, RECORDS_AT_ONCE):
        (replies,) = yield [hmget(keys.ids, [f"x{number}" for number in some])]
        found.update((number, text(reply)) for number, reply in zip(some, replies, strict=True) if reply)
    return found


def read_fields(
    keys: ShardKeys, numbers: Sequence[int], codes: Sequence[str]
) -> Steps[dict[int, tuple[str, dict[str, str]]]]:
    """Give the ids and the named parts of the records of numbers, in that order; the missing are left out."""
    found: dict[int, tuple[str, dict[str, str]]] = {}
    for piece in batches(numbers, RECORDS_AT_ONCE):
        known = yield from read_ids(keys, piece)
        here = {number: known[number] for number in piece if number in known}
        found.update((yield from read_records(keys, here, codes)))
    return found


def read_records(
    keys: ShardKeys, known: Mapping[int, str], codes: Sequence[str]
) -> Steps[dict[int, tuple[str, dict[str, str]]]]:
    """Give the ids and the named parts of the records of numbers whose ids are known."""
    found: dict[int, tuple[str, dict[str, str]]] = {}
    for piece in batches(list(known), RECORDS_AT_ONCE):
        records = [keys.record(known[number]) for number in piece]
        replies = yield [read_parts(some, codes) for some in batches(records, RECORDS_OF_A_COMMAND)]
        for number, reply in zip(piece, chain.from_iterable(replies), strict=True):
            raw = raw_fields(codes, reply)
            # An id that was used again after its first record was removed has another number.
            if raw.get("no") == str(number):
                found[number] = (known[number], raw)
    if NAMES in codes:
        yield from _read_properties(keys, [one for one in found.values() if NAMES in one[1]])
    return found


def _read_properties(keys: ShardKeys, found: Sequence[tuple[str, dict[str, str]]]) -> Steps[None]:
    """Add the properties to what was read of some records."""
    for piece in batches(found, RECORDS_AT_ONCE):
        names = [[name for name in json.loads(raw[NAMES]) if name.startswith(PROPERTY)] or ["no"] for _, raw in piece]
        replies = yield [hmget(keys.record(one), some) for (one, _), some in zip(piece, names, strict=True)]
        for (_, raw), some, reply in zip(piece, names, replies, strict=True):
            raw.update(raw_fields(some, reply))


def read_matching(plan: Plan, keys: ShardKeys, numbers: Sequence[int]) -> Steps[list[int]]:
    """Give those of the numbers whose records match, reading no more of them than that needs."""
    found = yield from read_fields(keys, numbers, codes_of(fields_of(plan.query.root)))
    return [number for number, (execution_id, raw) in found.items() if accepts(plan, execution_id, raw)]


def summary(execution_id: str, raw: Raw, shard: int, shards: int, also: Sequence[str] = ()) -> Execution:
    """Make the picture of an execution as lists show it, with some further parts of its record."""
    shown = {code: raw[code] for code in (*SUMMARY_FIELDS, *also) if code in raw}
    picture = decode_record(execution_id, shown, shard, shards)
    # Small outputs are not read with a list; whether there is one is known all the same.
    return replace(picture, has_output=True) if picture.is_successful else picture


def raw_fields(codes: Sequence[str], reply: Sequence[Any]) -> dict[str, str]:
    return {code: text(value) for code, value in zip(codes, reply, strict=True) if value is not None}


def raw_record(reply: Mapping[Any, Any]) -> dict[str, str]:
    return {text(code): text(value) for code, value in reply.items()}


def text(value: bytes) -> str:
    """Read bytes whatever they are: a record with broken bytes must not break the list it is in."""
    return value.decode(errors="replace")


def add_point(found: dict[str, list[dict[str, Any]]], point_id: str, raw: Raw) -> None:
    """Add one point of a step metric to the others of its name; the id of its entry is its time in ms."""
    point = {
        "value": float(raw["v"]),
        "step": int(raw["s"]) if raw.get("s") else None,
        "timestamp": to_datetime(int(point_id.split("-")[0]) * 1000),
        "attempt": int(raw["a"]),
    }
    found.setdefault(raw["k"], []).append(point)


def accepted_record(s: Submission, accepted: Accepted) -> dict[str, str]:
    """Give the record as `submit.lua` has just written it."""
    fields = submissions.fields_of(s)
    at_us = str(accepted.created_us)
    reason = s.reason if accepted.eta_us is None else Reason.SCHEDULED
    return {
        "v": str(FORMAT), "no": str(accepted.number), "st": "pending", "rs": reason.value, "at": "0", "cr": at_us,
        "ls": "1", "1": f"pending/{reason.value}|{at_us}|0||{s.message}",
        **{str(code): str(value) for code, value in zip(fields[::2], fields[1::2], strict=True)},
        **({"eta": str(accepted.eta_us)} if accepted.eta_us is not None else {}),
    }  # fmt: skip
