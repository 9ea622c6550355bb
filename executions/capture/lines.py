"""Pieces of text become lines."""

from __future__ import annotations

from collections.abc import Callable

#: Characters of a line that are kept; of the rest only the number is.
MAX_LINE = 16 * 1024

#: Unfinished lines (one for each thread that writes) that are held back at most.
_MAX_OPEN = 256


def cut(text: str, start: int, end: int) -> str:
    """Give one line out of a text: its last state where carriage returns wrote over it, and not too long.

    It takes the place in the text and not the line, so that a line of a gigabyte is never copied.
    """
    while end > start and text[end - 1] == "\r":
        end -= 1
    start = max(start, text.rfind("\r", start, end) + 1)
    if end - start <= MAX_LINE:
        return text[start:end]
    return shortened(text[start : start + MAX_LINE], end - start - MAX_LINE)


def shortened(kept: str, more: int) -> str:
    """Say how much of a line is not shown."""
    return f"{kept} ... {more:,} more characters" if more else kept


class _Open:
    """A line that is not finished."""

    __slots__ = ("_kept", "_more", "_parts", "_returned", "is_bar", "shown")

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._kept = 0
        self._more = 0
        #: A carriage return came last: the next text writes over this one.
        self._returned = False
        self.is_bar = False
        #: What a flush has already passed on of a progress bar.
        self.shown: str | None = None

    def add(self, text: str) -> None:
        if self._returned or "\r" in text:
            text = self._write_over(text)
        room = MAX_LINE - self._kept
        if len(text) > room:
            self._more += len(text) - room
            text = text[:room]
        if text:
            self._parts.append(text)
            self._kept += len(text)

    def _write_over(self, text: str) -> str:
        self.is_bar = True
        visible = text.rstrip("\r")
        if not visible:
            self._returned = True
            return ""
        if self._returned or "\r" in visible:
            self._parts, self._kept, self._more = [], 0, 0
        self._returned = len(visible) < len(text)
        return visible.rpartition("\r")[2]

    def text(self) -> str:
        return shortened("".join(self._parts), self._more)


class LineJoiner:
    """Joins what comes in pieces until the newline, apart for each thread.

    No lock: each thread has its own open line, and the flusher only looks.
    """

    def __init__(self, emit: Callable[[str], None]) -> None:
        self._emit = emit
        self._open: dict[int, _Open] = {}

    def feed(self, text: str, source: int) -> None:
        """Take a piece that a thread wrote."""
        end = text.find("\n")
        if end < 0:
            self._extend(text, source)
            return
        line = self._open.pop(source, None)
        if line is None:
            self._emit(cut(text, 0, end))
        else:
            if end:
                line.add(text[:end])
            self._finish(line)
        # Not split(): that would copy a gigabyte that is written in one piece.
        start = end + 1
        while (end := text.find("\n", start)) >= 0:
            self._emit(cut(text, start, end))
            start = end + 1
        if start < len(text):
            self._extend(text[start:] if start else text, source)

    def show_bars(self) -> None:
        """Pass on the state of each progress bar, where it has changed."""
        for line in list(self._open.values()):
            if line.is_bar:
                state = line.text()
                if state and state != line.shown:
                    line.shown = state
                    self._emit(state)

    def finish(self) -> None:
        """Pass on what has no newline yet."""
        while self._open:
            self._finish(self._open.popitem()[1])

    def _extend(self, text: str, source: int) -> None:
        line = self._open.get(source)
        if line is None:
            if len(self._open) >= _MAX_OPEN:
                self.finish()
            line = self._open[source] = _Open()
        line.add(text)

    def _finish(self, line: _Open) -> None:
        text = line.text()
        if text != line.shown:
            self._emit(text)
