"""The lines of each attempt: one stream, an entry for each batch, a last entry `end`.

| field | what |
|---|---|
| `lines` | JSON lines, each `[time_us, level, stream, line, message]` |
| `limit` | `<lines>/<bytes>` that the writer keeps of an attempt |
| `end`   | alone, written by finish.lua and retry.lua: the status or reason that ended the attempt |

An entry's id is `<number of its last line>-0`, not the server's time. So a page is found by its line number,
older entries are removed without their ids being kept, and a batch that is sent twice (its first answer got
lost) is refused the second time. `end` has a time as its id, which is larger than any line's number: what an
attempt writes after it was declared over is refused too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from redis.exceptions import ResponseError

from executions.errors import NotFound
from executions.logs import Limit, Line, LogPage, parse_level, say_cuts, to_record
from executions.registry.connection import RedisClient, translated
from executions.registry.space import Space
from executions.registry.transitions import RETENTION_SLACK_S
from executions.states import Status

#: Lines on a page unless asked otherwise, and at most.
PAGE_LINES = 1000
MAX_PAGE_LINES = 10_000

#: Entries asked for at once: a reply of at most some three MiB.
_ENTRIES = 100

#: How long a follower waits for lines before it looks whether the execution still runs. Only an attempt
#: that wrote nothing, or whose worker died, is seen to be over this way; all others say so in the stream.
_LOOK_MS = 1000

#: Seconds after which a connection counts as dead; longer than the wait for lines.
_SOCKET_TIMEOUT_S = 15.0

_NOT_NEWER = "equal or smaller than the target stream top item"

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[Any])


class Logs:
    """Writes and reads the lines."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._life_s = space.settings.retention_s + RETENTION_SLACK_S
        self._limit = Limit(space.settings.log_max_lines, space.settings.log_max_bytes)

    @translated
    def append(
        self, execution_id: str, attempt: int, batches: Sequence[Sequence[Line]], drop: Sequence[int] = ()
    ) -> None:
        """Store batches of lines and remove those whose last lines are named, in one round trip."""
        key = self._space.keys(execution_id).log(execution_id, attempt)
        limit = f"{self._limit.lines}/{self._limit.bytes}"
        pipeline = self._space.client.pipeline(transaction=False)
        for lines in batches:
            # A list: msgspec never lets go of the iterator that it makes for anything else.
            entry: dict[Any, Any] = {"lines": _encoder.encode_lines([*lines]), "limit": limit}
            pipeline.xadd(key, entry, id=f"{lines[-1].line}-0")
        if drop:
            pipeline.xdel(key, *(f"{line}-0" for line in drop))
        pipeline.expire(key, self._life_s)
        for reply in pipeline.execute(raise_on_error=False):
            if isinstance(reply, Exception) and not _is_refused(reply):
                raise reply

    @translated
    def attempts(self, execution_id: str) -> int:
        """Give how many attempts have started."""
        return self._look(execution_id)[1]

    @translated
    def read(
        self,
        execution_id: str,
        attempt: int,
        *,
        after_line: int = 0,
        limit: int = PAGE_LINES,
        level: str | None = None,
    ) -> LogPage:
        """Give up to `limit` lines after a line's number; those below the level are left out."""
        key = self._space.keys(execution_id).log(execution_id, attempt)
        wanted = max(1, min(limit, MAX_PAGE_LINES))
        cursor = _Cursor(attempt, after_line, parse_level(level))
        records: list[dict[str, Any]] = []
        while True:
            entries: Any = self._space.client.xrange(key, min=f"{cursor.line + 1}-0", count=_ENTRIES)
            for _, fields in entries:
                for record in cursor.records(fields, at_most=wanted - len(records)):
                    records.append(record)
                if len(records) >= wanted:
                    return LogPage(tuple(records), cursor.line, not cursor.ended, cursor.ended)
            if cursor.ended or len(entries) < _ENTRIES:
                return LogPage(tuple(records), cursor.line, False, cursor.ended)

    @translated
    def last_line(self, execution_id: str, attempt: int) -> int:
        """Give the number of an attempt's last line; 0 where there is none."""
        key = self._space.keys(execution_id).log(execution_id, attempt)
        entries: Any = self._space.client.xrevrange(key, count=2)
        return next((int(name.partition(b"-")[0]) for name, fields in entries if b"end" not in fields), 0)

    def follow(
        self,
        execution_id: str,
        *,
        attempt: int | None = None,
        after_line: int = 0,
        level: str | None = None,
        from_attempt: int = 1,
    ) -> Iterator[dict[str, Any]]:
        """Give lines as they are stored, until the execution (or the attempt that is asked for) has ended.

        `from_attempt` and `after_line` say where to go on after a break.
        """
        floor = parse_level(level)
        return self._follow(execution_id, attempt, from_attempt, after_line, floor)

    def _follow(
        self, execution_id: str, asked: int | None, from_attempt: int, after_line: int, floor: int
    ) -> Iterator[dict[str, Any]]:
        # A connection of its own: a read that blocks would hold one of the process's pool for ever.
        client = self._space.own_client(socket_timeout_s=_SOCKET_TIMEOUT_S)
        try:
            number = asked or from_attempt
            while True:
                yield from self._follow_attempt(client, execution_id, _Cursor(number, after_line, floor))
                if asked is not None or self._is_last(execution_id, number):
                    return
                number, after_line = number + 1, 0
        finally:
            client.close()

    def _follow_attempt(self, client: RedisClient, execution_id: str, cursor: _Cursor) -> Iterator[dict[str, Any]]:
        key = self._space.keys(execution_id).log(execution_id, cursor.attempt)
        is_over = self._is_over(execution_id, cursor.attempt)
        while not cursor.ended:
            entries = self._wait(client, key, cursor.line, None if is_over else _LOOK_MS)
            for _, fields in entries:
                yield from cursor.records(fields)
            if not entries:
                if is_over:
                    return
                is_over = self._is_over(execution_id, cursor.attempt)

    @translated
    def _wait(self, client: RedisClient, key: str, after_line: int, block_ms: int | None) -> list[Any]:
        reply: Any = client.xread({key: f"{after_line}-0"}, count=_ENTRIES, block=block_ms)
        if not reply:
            return []
        # RESP3 answers with a mapping of lists of lists of entries, RESP2 with a list of pairs.
        found = next(iter(reply.values())) if isinstance(reply, dict) else reply[0][1]
        return list(found[0] if found and isinstance(found[0], list) else found)

    @translated
    def _look(self, execution_id: str) -> tuple[Status, int]:
        key = self._space.keys(execution_id).record(execution_id)
        found: list[Any] = self._space.client.hmget(key, ["st", "at"])
        status, attempt = found
        if status is None:
            raise NotFound(f"no execution {execution_id!r}: the id is unknown or it was removed after its retention")
        return Status(status.decode()), int(attempt or 0)

    def _is_over(self, execution_id: str, attempt: int) -> bool:
        status, current = self._look(execution_id)
        return status.is_terminal or current > attempt or (current == attempt and status is Status.PENDING)

    def _is_last(self, execution_id: str, attempt: int) -> bool:
        status, current = self._look(execution_id)
        return status.is_terminal and current <= attempt


class _Cursor:
    """Where a reader stands in an attempt's stream."""

    def __init__(self, attempt: int, line: int, floor: int) -> None:
        self.attempt = attempt
        self.line = line
        self.ended = False
        self._floor = floor

    def records(self, fields: dict[bytes, bytes], at_most: int = 1 << 30) -> Iterator[dict[str, Any]]:
        """Give what an entry adds, in users' form, and move on."""
        if b"end" in fields:
            self.ended = True
            return
        lines = [Line(*row[:5]) for row in _decoder.decode_lines(fields[b"lines"])]
        lines_limit, _, bytes_limit = fields.get(b"limit", b"0/0").partition(b"/")
        limit = Limit(int(lines_limit), int(bytes_limit))
        for line in say_cuts((line for line in lines if line.line > self.line), self.line, limit):
            if line.level >= self._floor:
                if at_most <= 0:
                    return
                at_most -= 1
                yield to_record(line, self.attempt)
            self.line = line.line


def _is_refused(reply: Exception) -> bool:
    return isinstance(reply, ResponseError) and _NOT_NEWER in str(reply)
