"""The lines that an execution wrote, as users hold them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, overload

from executions.clock import to_datetime
from executions.errors import InvalidInput, NotFound

#: The names that a level filter takes, lowest first.
LEVELS = {
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARNING": logging.WARNING,
    "ERROR": logging.ERROR,
    "CRITICAL": logging.CRITICAL,
}
_ALIASES = {"WARN": "WARNING", "FATAL": "CRITICAL"}

#: The `stream` of a line that nobody wrote: the library says with it what is missing.
OWN_STREAM = "executions"


class Line(NamedTuple):
    """One line, as it is stored."""

    time_us: int
    level: int
    stream: str
    line: int
    message: str


class Limit(NamedTuple):
    """How much is kept of one attempt."""

    lines: int
    bytes: int


@dataclass(frozen=True)
class LogPage:
    """Some lines in a row; `next_line` is what to read on after, `ended` says that nothing will follow."""

    records: tuple[dict[str, Any], ...]
    next_line: int
    more: bool
    ended: bool


class LogSource(Protocol):
    """Where a view reads from."""

    def attempts(self, execution_id: str) -> int:
        """Give how many attempts have started; raise `NotFound` for an unknown id."""

    def read(
        self,
        execution_id: str,
        attempt: int,
        *,
        after_line: int = 0,
        limit: int = ...,
        level: str | None = None,
    ) -> LogPage:
        """Give a page of an attempt's lines."""

    def follow(
        self, execution_id: str, *, attempt: int | None = None, level: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """Give lines as they come, until the end."""


def parse_level(level: str | int | None) -> int:
    """Read a level by its name in any case (`None` is all of them)."""
    if level is None:
        return 0
    if isinstance(level, int):
        return level
    name = level.strip().upper()
    found = LEVELS.get(_ALIASES.get(name, name))
    if found is None:
        raise InvalidInput(f"no log level {level!r}: use one of {', '.join(LEVELS)}")
    return found


def to_record(line: Line, attempt: int) -> dict[str, Any]:
    """Give a line as users get it."""
    return {
        "timestamp": to_datetime(line.time_us),
        "message": line.message,
        "level": logging.getLevelName(line.level),
        "stream": line.stream,
        "attempt": attempt,
        "line": line.line,
    }


def say_cuts(lines: Iterable[Line], after_line: int, limit: Limit) -> Iterator[Line]:
    """Pass the lines on; where numbers are missing between two of them, say how many lines that were."""
    expected = after_line + 1
    for line in lines:
        if line.line > expected:
            # It has the number of the last line that is missing, so that a reader goes on behind it.
            text = _cut(line.line - expected, limit)
            yield Line(line.time_us, logging.WARNING, OWN_STREAM, line.line - 1, text)
        expected = line.line + 1
        yield line


def _cut(count: int, limit: Limit) -> str:
    noun = "line" if count == 1 else "lines"
    return f"... {count:,} {noun} not kept: the limit is {limit.lines:,} lines or {_size(limit.bytes)} of an attempt"


def _size(count: int) -> str:
    for unit, power in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= power:
            return f"{round(count / power, 1):g} {unit}"
    return f"{count} bytes"


class LogView(Sequence[dict[str, Any]]):
    """The lines of an execution: print it, index it, or iterate over it as often as you like.

    Each line is a dict: `timestamp message level stream attempt line`. Without an attempt's number the lines
    of all attempts come in order. A view that does not follow reads when first looked at and then stays as
    it is; one that follows starts anew with each iteration and goes on until the execution has ended.
    """

    def __init__(
        self,
        source: LogSource,
        execution_id: str,
        *,
        follow: bool = False,
        level: str | None = None,
        attempt: int | None = None,
    ) -> None:
        parse_level(level)
        if attempt is not None and attempt < 1:
            raise InvalidInput(f"attempts count from 1, not {attempt!r}")
        self._source = source
        self._id = execution_id
        self._follow = follow
        self._level = level
        self._attempt = attempt
        self._records: list[dict[str, Any]] = []
        self._rest: Iterator[dict[str, Any]] | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self._follow:
            yield from self._source.follow(self._id, attempt=self._attempt, level=self._level)
            return
        at = 0
        while at < len(self._records) or self._read_one():
            yield self._records[at]
            at += 1

    def __len__(self) -> int:
        if self._follow:
            # `list()` asks for a length first: it would follow to the end twice.
            raise TypeError("a view that follows has no length; make a list of it, or leave `follow` out")
        return len(self._all())

    def __bool__(self) -> bool:
        return next(iter(self), None) is not None

    @overload
    def __getitem__(self, at: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, at: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, at: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        return self._all()[at]

    def __str__(self) -> str:
        return "\n".join(record["message"] for record in self)

    def __repr__(self) -> str:
        what = "following" if self._follow else "as written"
        return f"<LogView of {self._id}, {what}>"

    def _all(self) -> list[dict[str, Any]]:
        if self._follow:
            return list(self)
        while self._read_one():
            pass
        return self._records

    def _read_one(self) -> bool:
        if self._rest is None:
            self._rest = self._read()
        record = next(self._rest, None)
        if record is None:
            return False
        self._records.append(record)
        return True

    def _read(self) -> Iterator[dict[str, Any]]:
        started = self._source.attempts(self._id)
        if self._attempt is not None and self._attempt > started:
            raise NotFound(f"execution {self._id} has no attempt {self._attempt}; it has had {started}")
        for attempt in range(1, started + 1) if self._attempt is None else (self._attempt,):
            after, more = 0, True
            while more:
                page = self._source.read(self._id, attempt, after_line=after, level=self._level)
                yield from page.records
                after, more = page.next_line, page.more
