"""Makes what points at an execution agree with its record again, in one step."""

from __future__ import annotations

from collections.abc import Sequence

from executions.registry import scripts
from executions.registry.connection import RedisClient, translated
from executions.registry.indexes import CHUNK
from executions.registry.invariants import values
from executions.registry.invariants.findings import Finding
from executions.registry.invariants.judgement import expected_scores, wrong_terms
from executions.registry.invariants.pictures import Picture, read_still
from executions.registry.keys import ShardKeys, shard_keys
from executions.registry.rounds import ask, hget
from executions.registry.space import Space
from executions.registry.transitions import RETENTION_SLACK_S


def mend(client: RedisClient, keys: ShardKeys, picture: Picture, stray: Sequence[str], life_s: int) -> bool:
    """Mend what is wrong around a record; `False` where it has moved on since the picture was taken."""
    bits = {**wrong_terms(picture), **dict.fromkeys(stray, False)} if picture.raw.get("no") else {}
    scores = expected_scores(picture) if picture.raw.get("no") else {}
    args: list[str | int] = [picture.id, picture.number, picture.length, life_s, len(bits) * 2]
    for term, wanted in bits.items():
        args += (term, "1" if wanted else "")
    for name in ("started", "finished", "duration"):
        score = scores.get(name)
        args.append("" if score is None else f"{score:.0f}")
    reply = scripts.MEND(client, keys.of_transition(picture.id, 1), tuple(args))
    return bool(reply[0] == b"ok")


def recount(client: RedisClient, keys: ShardKeys, term: str, last_chunk: int, *, write: bool) -> tuple[int, int]:
    """Give the count that is kept of a term and the number of its bits; with `write`, keep that from now on."""
    args = (term, last_chunk, "1" if write else "")
    kept, found = scripts.RECOUNT(client, keys.of_transition("", 1), args)
    return int(kept), int(found)


class Mending:
    """The repairs that are about indexes, lists and lives; those that move an execution on are others' verbs."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._life_s = space.settings.retention_s + RETENTION_SLACK_S

    @translated
    def around(self, finding: Finding) -> bool:
        """Make what points at an execution agree with its record."""
        keys = shard_keys(self._space.namespace, finding.shard)
        picture = Picture(finding.shard, finding.number or 0, finding.id, {})
        if finding.number is not None:
            still = read_still(self._space.client, keys, finding.number, finding.id)
            if still is None or still.raw.get("no") != str(finding.number):
                return False
            picture = still
        stray = finding.terms if finding.code == "stray-index" else ()
        return mend(self._space.client, keys, picture, stray, self._life_s)

    @translated
    def forgotten_bit(self, finding: Finding) -> bool:
        """Clear what a field of the index says of numbers that do not exist."""
        keys = shard_keys(self._space.namespace, finding.shard)
        return int(scripts.SWEEP(self._space.client, keys.of_transition("", 1), (finding.id,))) >= 0

    @translated
    def values(self, finding: Finding) -> bool:
        """Make an execution found by the values that its record has."""
        return values.mend(self._space.client, shard_keys(self._space.namespace, finding.shard), finding)

    @translated
    def count(self, shard: int, term: str) -> None:
        """Count a term again."""
        keys = shard_keys(self._space.namespace, shard)
        (number,) = ask(self._space.client, hget(keys.meta, "number"))
        recount(self._space.client, keys, term, int(number or 0) // CHUNK, write=True)
