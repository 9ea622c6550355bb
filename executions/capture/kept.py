"""Which lines of an attempt are kept: the first ones and the newest; pure counting."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from executions.logs import Line

#: A batch is one entry of the stream: large enough to be cheap, small enough to be a unit of removal.
BATCH_LINES = 100
BATCH_BYTES = 32 * 1024

#: The part of the limit that belongs to the first lines: how it began is told there.
_FIRST_PART = 5

_Sized = tuple[Line, int]


@dataclass(frozen=True)
class Taken:
    """What is to be stored and removed in one go."""

    first: tuple[_Sized, ...]
    newest: tuple[_Sized, ...]
    drop: tuple[int, ...]
    batches: tuple[tuple[Line, ...], ...]

    def __bool__(self) -> bool:
        return bool(self.batches or self.drop)


@dataclass
class _Budget:
    """Lines and bytes."""

    lines: int
    bytes: int

    def spend(self, size: int) -> None:
        self.lines -= 1
        self.bytes -= size

    def allows(self, size: int) -> bool:
        return self.lines >= 1 and self.bytes >= size


@dataclass
class _Run:
    """Lines in a row, with their sum."""

    items: deque[_Sized] = field(default_factory=deque)
    bytes: int = 0

    def append(self, item: _Sized) -> None:
        self.items.append(item)
        self.bytes += item[1]

    def popleft(self) -> _Sized:
        item = self.items.popleft()
        self.bytes -= item[1]
        return item


@dataclass(frozen=True)
class _Stored:
    last_line: int
    lines: int
    bytes: int


class Kept:
    """Numbers the lines and decides which of them are stored, and which stored ones go again.

    The numbers of lines that are not kept are missing later; so a reader sees where and how many.
    """

    def __init__(self, max_lines: int, max_bytes: int) -> None:
        self._budget = _Budget(max_lines // _FIRST_PART, max_bytes // _FIRST_PART)
        self._max_lines = max(1, max_lines - self._budget.lines)
        self._max_bytes = max_bytes - self._budget.bytes
        self._is_first = True
        self._number = 0
        self._first: list[_Sized] = []
        self._newest = _Run()
        self._stored: deque[_Stored] = deque()
        self._stored_lines = 0
        self._stored_bytes = 0
        self._drop: list[int] = []

    def add(self, at: float, level: int, stream: str, message: str) -> None:
        """Take the next line."""
        size = len(message)
        if not message.isascii():
            # Lone surrogates (undecodable bytes of file names, say) have no UTF-8: they are written as escapes.
            raw = message.encode("utf-8", "backslashreplace")
            size = len(raw)
            message = raw.decode()
        self._number += 1
        item = (Line(int(at * 1_000_000), level, stream, self._number, message), size)
        if self._is_first and self._budget.allows(size):
            self._budget.spend(size)
            self._first.append(item)
            return
        self._is_first = False
        self._newest.append(item)
        self._trim()

    def take(self) -> Taken:
        """Give what waits, and make room for it among what is stored."""
        first, newest = tuple(self._first), tuple(self._newest.items)
        lines, size = len(newest), self._newest.bytes
        while self._stored and (
            self._stored_lines + lines > self._max_lines or self._stored_bytes + size > self._max_bytes
        ):
            oldest = self._stored.popleft()
            self._stored_lines -= oldest.lines
            self._stored_bytes -= oldest.bytes
            self._drop.append(oldest.last_line)
        taken = Taken(first, newest, tuple(self._drop), (*_batches(first), *_batches(newest)))
        self._first, self._newest, self._drop = [], _Run(), []
        return taken

    def stored(self, taken: Taken) -> None:
        """Note that it is stored."""
        for batch in _split(taken.newest):
            self._stored.append(_Stored(batch[-1][0].line, len(batch), sum(size for _, size in batch)))
            self._stored_lines += len(batch)
            self._stored_bytes += self._stored[-1].bytes

    def put_back(self, taken: Taken) -> None:
        """Keep it for the next try, as far as the limit allows."""
        self._first = [*taken.first, *self._first]
        self._drop = [*taken.drop, *self._drop]
        newer, self._newest = self._newest, _Run()
        for item in (*taken.newest, *newer.items):
            self._newest.append(item)
        self._trim()

    def _trim(self) -> None:
        waiting = self._newest
        while len(waiting.items) > self._max_lines or (waiting.bytes > self._max_bytes and len(waiting.items) > 1):
            waiting.popleft()


def _batches(items: tuple[_Sized, ...]) -> list[tuple[Line, ...]]:
    return [tuple(line for line, _ in batch) for batch in _split(items)]


def _split(items: tuple[_Sized, ...]) -> list[list[_Sized]]:
    batches: list[list[_Sized]] = []
    room = 0
    for item in items:
        if not batches or len(batches[-1]) >= BATCH_LINES or item[1] > room:
            batches.append([])
            room = BATCH_BYTES
        batches[-1].append(item)
        room -= item[1]
    return batches
