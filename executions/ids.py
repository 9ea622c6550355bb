"""Ids of executions, and the shard that an id belongs to.

An id that we make is a UUIDv7 (ids sort by time) whose last twelve bits name the shard. Any other id
is hashed. So the shard of an execution is known from its id alone, and never has to be looked up.
"""

from __future__ import annotations

import uuid
import zlib

from uuid_utils import uuid7 as _uuid7

#: The last three hex digits of a UUIDv7 name its shard, so there can be no more shards than this.
MAX_SHARDS = 4096

#: Names are turned into ids under this namespace, so that one name always gives one id.
_NAME_SPACE = uuid.UUID("6f1d7a52-8c1b-5e0e-9d3a-0c8f6d0a7c11")

_VERSION_AT = 14


def new_id(shard: int | None = None) -> str:
    """Make a new id; with `shard`, one that lies in that shard whatever the number of shards."""
    made = str(_uuid7())
    return made if shard is None else f"{made[:-3]}{shard:03x}"


def new_name(prefix: str) -> str:
    """Make a name that nobody has, and that begins as asked."""
    return f"{prefix}-{new_id().replace('-', '')[-19:]}"


def named_id(name: str, function: str) -> str:
    """Derive the id of a named submit, so that submitting twice finds the first."""
    return str(uuid.uuid5(_NAME_SPACE, f"{function}\x00{name}"))


def shard_of(execution_id: str, shards: int) -> int:
    """Tell which shard an id belongs to."""
    if shards == 1:
        return 0
    if len(execution_id) == 36 and execution_id[_VERSION_AT] == "7":
        try:
            return int(execution_id[-3:], 16) % shards
        except ValueError:
            pass
    return zlib.crc32(execution_id.encode()) % shards


def pack(execution_id: str) -> bytes:
    """Give the sixteen bytes of a canonical UUID, or nothing for another kind of id."""
    if len(execution_id) != 36:
        return b""
    try:
        raw = bytes.fromhex(execution_id.replace("-", ""))
    except ValueError:
        return b""
    return raw if len(raw) == 16 and unpack(raw) == execution_id else b""


def unpack(raw: bytes) -> str:
    """Turn sixteen bytes back into the id's text."""
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
