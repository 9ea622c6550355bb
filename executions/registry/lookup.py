"""Executions by their ids, and by their numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from executions.errors import InvalidInput, NotFound
from executions.execution import Execution
from executions.registry.checkouts import Checkouts
from executions.registry.connection import translated
from executions.registry.outcomes import Accepted
from executions.registry.records import SUMMARY_FIELDS, decode_record
from executions.registry.rounds import batches, run
from executions.registry.rows import RECORDS_AT_ONCE, accepted_record, raw_fields, raw_record, read_ids, summary
from executions.registry.space import Space
from executions.registry.submission import Submission

#: The number of an execution as people write it: no longer than what the server counts to.
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")

#: Records that are read whole at once: each may be some hundred kilobytes.
WHOLE_AT_ONCE = 50


def _as_it_is(execution: Execution) -> Execution:
    return execution


class Lookup:
    """Gives executions by their ids and numbers.

    `bind` is given each execution that is handed out, to tie it to a client.
    """

    def __init__(self, space: Space, bind: Callable[[Execution], Execution] = _as_it_is) -> None:
        self._space = space
        self._bind = bind
        self._checkouts = Checkouts(space)

    @translated
    def get(self, execution_id: str) -> Execution:
        """Give one execution with all that is kept of it; raises `NotFound` for an unknown id."""
        if not execution_id or not isinstance(execution_id, str):
            raise InvalidInput(f"execution_id must be a text that is not empty, not {execution_id!r}")
        reply = self._space.client.hgetall(self._space.keys(execution_id).record(execution_id))
        raw = raw_record(reply)
        if "no" not in raw:
            raise NotFound(f"no execution {execution_id!r}: the id is unknown or it was removed after its retention")
        return self._whole_picture(execution_id, raw)

    def _with_code(self, found: Execution, raw: dict[str, str]) -> Execution:
        """Complete what the record says of the code by what the processes told."""
        code = found.code and self._checkouts.rest_of(raw.get("gi", ""), found.code)
        ran = found.ran and self._checkouts.rest_of(raw["gw"].partition("/")[0], found.ran)
        return replace(found, code=code, ran=ran) if code or ran else found

    def accepted(self, submission: Submission, accepted: Accepted) -> Execution:
        """Give the picture of an execution that was accepted this moment, without reading it back."""
        space = self._space
        raw = accepted_record(submission, accepted)
        return self._bind(decode_record(submission.id, raw, space.shard(submission.id), space.shards))

    @translated
    def get_many(self, ids: Iterable[str]) -> list[Execution]:
        """Give many executions as lists show them, in the order of the ids; unknown ones are left out."""
        found: list[Execution] = []
        for piece in batches(list(ids), RECORDS_AT_ONCE):
            pipeline = self._space.client.pipeline(transaction=False)
            for execution_id in piece:
                pipeline.hmget(self._space.keys(execution_id).record(execution_id), SUMMARY_FIELDS)
            for execution_id, reply in zip(piece, pipeline.execute(), strict=True):
                raw = raw_fields(SUMMARY_FIELDS, reply)
                if "no" in raw:
                    found.append(self._picture(execution_id, raw))
        return found

    def whole(self, ids: Iterable[str]) -> Iterator[Execution]:
        """Give many executions with all that is kept of each, in the order of the ids; unknown ones are left out."""
        pieces = iter(ids)
        while piece := list(islice(pieces, WHOLE_AT_ONCE)):
            yield from self._whole(piece)

    @translated
    def _whole(self, ids: Sequence[str]) -> list[Execution]:
        space = self._space
        pipeline = space.client.pipeline(transaction=False)
        for execution_id in ids:
            pipeline.hgetall(space.keys(execution_id).record(execution_id))
        records = zip(ids, map(raw_record, pipeline.execute()), strict=True)
        return [self._whole_picture(execution_id, raw) for execution_id, raw in records if "no" in raw]

    def _whole_picture(self, execution_id: str, raw: dict[str, str]) -> Execution:
        found = decode_record(execution_id, raw, self._space.shard(execution_id), self._space.shards)
        return self._bind(self._with_code(found, raw))

    @translated
    def by_number(self, number: int) -> Execution:
        """Give the execution with a number, as people read it; raises `NotFound`."""
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise InvalidInput(f"an execution's number is a whole number above zero, not {number!r}")
        local, shard = divmod(number, self._space.shards)
        (found,) = run(self._space.client, [read_ids(self._space.all_keys()[shard], [local])])
        if local not in found:
            raise NotFound(f"no execution number {number}: it never was, or it was removed after its retention")
        return self.get(found[local])

    def find(self, which: str) -> Execution:
        """Give the execution with an id or, where it is nobody's id, with a number; raises `NotFound`."""
        try:
            return self.get(which)
        except NotFound:
            # Any text can be an id, so a number that is one as well leads where it always led.
            if _NUMBER.fullmatch(which) is None:
                raise
        return self.by_number(int(which))

    def ids_of(self, which: Iterable[str]) -> Iterator[str | None]:
        """Give the id behind each of many ids and numbers, some at a time; nothing for what is unknown."""
        pieces = iter(which)
        while piece := list(islice(pieces, RECORDS_AT_ONCE)):
            yield from self._ids_of(piece)

    @translated
    def _ids_of(self, which: Sequence[str]) -> list[str | None]:
        space = self._space
        pipeline = space.client.pipeline(transaction=False)
        for one in which:
            pipeline.hexists(space.keys(one).record(one), "no")
        there = dict(zip(which, pipeline.execute(), strict=True))
        numbers = {one: int(one) for one, known in there.items() if not known and _NUMBER.fullmatch(one)}
        by_number: dict[int, str] = {}
        for shard, keys in enumerate(space.all_keys()):
            local = sorted({number // space.shards for number in numbers.values() if number % space.shards == shard})
            (found,) = run(space.client, [read_ids(keys, local)])
            by_number |= {number * space.shards + shard: execution_id for number, execution_id in found.items()}
        return [one if there[one] else by_number.get(numbers.get(one, 0)) for one in which]

    def _picture(self, execution_id: str, raw: dict[str, str]) -> Execution:
        return self._bind(summary(execution_id, raw, self._space.shard(execution_id), self._space.shards))
