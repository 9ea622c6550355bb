"""Which execution has computed a call, so that its output can be reused.

A key names the attempt that succeeded, and nothing of its output: that stays on the record. So an entry whose
execution is gone, was run again or lost its result says nothing any more, and whoever dies half-way leaves at
most an entry that is missing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from executions.registry.connection import translated
from executions.registry.space import Space
from executions.states import Status


@dataclass(frozen=True)
class Source:
    """An execution whose output can be reused."""

    id: str
    #: The output as JSON, or the reference to it in the payload store.
    text: str
    is_reference: bool


def digest_of(function: str, version: str, arguments: str) -> str:
    """Name a call: equal calls have equal names, and nobody can tell the arguments from it."""
    return hashlib.sha256("\x00".join((function, version, arguments)).encode(errors="surrogatepass")).hexdigest()


class Cache:
    """Finds and keeps what was computed."""

    def __init__(self, space: Space) -> None:
        self._space = space

    @translated
    def find(self, digest: str) -> Source | None:
        """Find who has computed a call and still has its output: one round trip for a miss, else two."""
        client = self._space.client
        entry = client.get(self._space.keys(digest).cached(digest))
        if entry is None:
            return None
        attempt, _, source = entry.decode().partition("/")
        # Two steps, because the two keys may lie in different shards.
        record = self._space.keys(source).record(source)
        status, now_at, output, reference = client.hmget(record, "st", "at", "out", "or")
        found = reference or output
        if found is None or status.decode() != Status.SUCCESS or now_at.decode() != attempt:
            return None
        return Source(source, found.decode(), is_reference=reference is not None)

    @translated
    def keep(self, digest: str, execution_id: str, attempt: int, ttl_s: int) -> None:
        """Say who has computed a call; the newest one counts."""
        self._space.client.set(self._space.keys(digest).cached(digest), f"{attempt}/{execution_id}", ex=ttl_s)
