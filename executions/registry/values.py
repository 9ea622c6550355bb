"""Properties and metrics in the order of their values: one sorted set for all names, read by pieces.

A member is the name, the value in a form whose bytes sort like the values, and the execution's number, with a zero
byte between them: `p.epochs`, eight bytes of a number after an `n` or the beginning of a text after a `t`, `4711`.
All scores are zero, so the server sorts members by their bytes. One set, not one for each name: scripts need to know
their keys beforehand, and names may be many. `valued` in `lua/_prelude.lua` writes what is read here.
"""

from __future__ import annotations

import struct

from executions.query.plan import Valued
from executions.query.values import VALUE_MOST, Value
from executions.registry.keys import ShardKeys
from executions.registry.rounds import Ask, Steps, by_name

#: Members that one command asks for.
_MEMBERS_AT_ONCE = 2000

#: Comes after every number in a member, as numbers are written in digits.
_AFTER = b"\xff"


def lex_count(keys: ShardKeys, leaf: Valued) -> Ask:
    """Ask how many values there are."""
    return by_name("zlexcount", keys.values, *edges(leaf))


def read_valued(keys: ShardKeys, leaf: Valued) -> Steps[set[int]]:
    """Give all numbers with such a value, piece by piece."""
    found: set[int] = set()
    low, high = edges(leaf)
    while True:
        (members,) = yield [by_name("zrangebylex", keys.values, low, high, 0, _MEMBERS_AT_ONCE)]
        found.update(map(number_of, members))
        if len(members) < _MEMBERS_AT_ONCE:
            return found
        low = b"(" + members[-1]


def read_names(keys: ShardKeys, word: str, most: int) -> Steps[list[str]]:
    """Give names of properties or metrics, one step for each: whatever else has the same name is passed by."""
    found: list[str] = []
    begin = low = f"{word[0]}.".encode()
    while len(found) < most:
        (members,) = yield [by_name("zrangebylex", keys.values, b"[" + low, b"(" + begin + _AFTER, 0, 1)]
        if not members:
            break
        name = members[0].partition(b"\0")[0]
        found.append(name.removeprefix(begin).decode(errors="replace"))
        low = name + b"\1"
    return found


def number_of(member: bytes) -> int:
    """Give the number in a member."""
    return int(member[member.rindex(b"\0") + 1 :])


def edges(leaf: Valued) -> tuple[bytes, bytes]:
    """Give the least member of a range and the first one after it, as the server reads them."""
    word, _, key = leaf.field.partition(".")
    name = f"{word[0]}.{key}".encode().replace(b"\0", _AFTER)
    low = high = name + b"\0"
    if leaf.low is None and leaf.high is None:
        return b"[" + low, b"(" + name + b"\1"
    kind = b"t" if isinstance(leaf.low, str) or isinstance(leaf.high, str) else b"n"
    low += kind
    if leaf.low is not None:
        low += _form(leaf.low) + (b"\0" if leaf.low_included else b"\0" + _AFTER)
    if leaf.high is None:
        high += bytes([kind[0] + 1])
    else:
        high += kind + _form(leaf.high) + (b"\0" + _AFTER if leaf.high_included else b"\0")
    return b"[" + low, b"(" + high


def _form(value: Value) -> bytes:
    if isinstance(value, str):
        return value.encode()[:VALUE_MOST].replace(b"\0", _AFTER)
    raw = struct.pack(">d", value + 0.0)
    return bytes([raw[0] + 128]) + raw[1:] if raw[0] < 128 else bytes(255 - byte for byte in raw)
