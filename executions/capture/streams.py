"""What stands in the place of sys.stdout and sys.stderr."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterable
from typing import Any, TextIO

from executions.capture.current import CURRENT, PROCESS
from executions.capture.writer import LogWriter

_current = CURRENT.get


class StreamProxy:
    """Copies text to the writer of the execution that writes it, and passes it on.

    Not an `io.TextIOBase`: whatever else is asked of it (`fileno`, `isatty`, `encoding`) is the original's.
    """

    def __init__(self, stream: str, original: TextIO, *, pass_on: bool) -> None:
        self._stream = stream
        self._write = original.write
        self._pass_on = pass_on
        # A plain file cannot lead back here. Anything else might: Celery's LoggingProxy turns text into log
        # records, and a handler may write those to this very stream.
        self._is_plain = isinstance(original, io.TextIOWrapper)
        self.original = original

    def write(self, text: str) -> int:
        writer = _current(PROCESS.writer)
        if writer is None or not isinstance(text, str):
            return self._write(text)
        writer.feed(self._stream, text)
        if not self._pass_on:
            return len(text)
        if self._is_plain:
            return self._write(text)
        token = CURRENT.set(None)
        try:
            return self._write(text)
        finally:
            CURRENT.reset(token)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    @property
    def buffer(self) -> BytesProxy:
        return BytesProxy(self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)

    def __repr__(self) -> str:
        return f"<captured {self.original!r}>"


class BytesProxy:
    """Stands in the place of `sys.stdout.buffer`."""

    def __init__(self, proxy: StreamProxy) -> None:
        self._proxy = proxy
        self._buffer = proxy.original.buffer

    def write(self, data: Any) -> int:
        writer = _current(PROCESS.writer)
        if writer is None:
            return self._buffer.write(data)
        # Each piece on its own: a character cut in two shows as escapes, which beats holding bytes back.
        writer.feed(self._proxy._stream, bytes(data).decode("utf-8", "backslashreplace"))
        return self._buffer.write(data) if self._proxy._pass_on else len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._buffer, name)


class BytesFeed:
    """Feeds what comes out of a descriptor, with characters that span two pieces put together."""

    def __init__(self, stream: str, source: int) -> None:
        self._stream = stream
        self._source = source
        self.renew()

    def renew(self) -> None:
        """Start with another execution."""
        self._decode = codecs.getincrementaldecoder("utf-8")("backslashreplace").decode

    def __call__(self, writer: LogWriter, data: bytes) -> None:
        text = self._decode(data)
        if text:
            writer.feed(self._stream, text, self._source)
