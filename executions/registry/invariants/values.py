"""Whether the order of properties and metrics has what the records say, no more and no less."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from executions.registry import scripts
from executions.registry.connection import RedisClient
from executions.registry.invariants.findings import Finding
from executions.registry.invariants.pictures import Picture
from executions.registry.keys import ShardKeys
from executions.registry.rounds import run
from executions.registry.rows import read_ids
from executions.registry.values import number_of

#: A member holds any bytes; written so, each is one character.
BYTES = "latin-1"


def lacking(client: RedisClient, keys: ShardKeys, pictures: Iterable[Picture]) -> list[Finding]:
    """Give the values of some executions that are not entered."""
    whose = {picture.number: picture.id for picture in pictures if picture.raw.get("vx")}
    return [found for found in _compared(client, keys, whose, {}) if found.code == "missing-value"]


def strays(client: RedisClient, keys: ShardKeys, members: Iterable[bytes]) -> list[Finding]:
    """Give those of some entered values that no record asks for."""
    by_number = defaultdict(list)
    for member in members:
        by_number[number_of(member)].append(member)
    known = run(client, [read_ids(keys, sorted(by_number))])[0]
    whose = {number: known.get(number, "") for number in by_number}
    return [found for found in _compared(client, keys, whose, by_number) if found.code == "stray-value"]


def mend(client: RedisClient, keys: ShardKeys, finding: Finding) -> bool:
    """Enter what is missing, and take out what is stray."""
    members = [term.encode(BYTES) for term in finding.terms] if finding.code == "stray-value" else []
    whose = "" if finding.id.startswith("number ") else finding.id
    missing, stray = scripts.VALUE_CHECK(client, *_call(keys, whose, finding.number or 0, members, mends=True))
    return bool(missing or stray)


def _compared(
    client: RedisClient, keys: ShardKeys, whose: Mapping[int, str], members: Mapping[int, Sequence[bytes]]
) -> Iterator[Finding]:
    """Have the server compare, each execution in one step."""
    calls = [_call(keys, one, number, members.get(number, ())) for number, one in whose.items()]
    for (number, one), (missing, stray) in zip(whose.items(), scripts.VALUE_CHECK.many(client, calls), strict=True):
        which = one or f"number {number}"
        if missing:
            told = f"{_names(missing)} cannot be found by its value"
            yield Finding("missing-value", which, told, keys.shard, number)
        if stray:
            told = f"it is found by a value of {_names(stray)} that its record does not have"
            yield Finding("stray-value", which, told, keys.shard, number, tuple(one.decode(BYTES) for one in stray))


def _call(
    keys: ShardKeys, execution_id: str, number: int, members: Sequence[bytes], *, mends: bool = False
) -> scripts.Call:
    return keys.of_transition(execution_id, 1), (execution_id, number, "1" if mends else "", *members)


def _names(members: Iterable[bytes]) -> str:
    """Give the names in members, or names, without the letter that tells properties from metrics."""
    return ", ".join(one.partition(b"\0")[0][2:].decode(errors="replace") for one in members)
