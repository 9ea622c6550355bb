"""What an execution writes becomes the log of its attempt.

    capture.install()                        # once in a process that runs executions
    with capture.attempt(writer):            # around the function's body
        ...

Which execution a line belongs to is told by a context variable: threads, greenlets and asyncio tasks never mix.
A thread that the function starts has no part in its context, so in a pool with several executions at once its
lines are passed on but not captured, unless it is started with `contextvars.copy_context().run` (as
`asyncio.to_thread` does). In a prefork child (`descriptors=True`) everything belongs to the one execution.

Celery, the broker and the registry are unknown here.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from contextvars import Token
from dataclasses import dataclass
from typing import Any

from executions.capture.current import CURRENT, PROCESS
from executions.capture.descriptors import FdCapture
from executions.capture.records import RecordHook
from executions.capture.streams import StreamProxy
from executions.capture.writer import LogWriter, Sink

__all__ = ["Begun", "LogWriter", "Sink", "attempt", "begin", "end", "install", "is_installed", "uninstall"]


@dataclass(frozen=True)
class Begun:
    """What `end` needs to know of a `begin`."""

    writer: LogWriter
    token: Token[LogWriter | None]
    #: Whose the process was before: an eager run happens within another execution.
    outer: LogWriter | None


class _Capture:
    """The process's capture: what was replaced, to be put back."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.is_on = False
        self.pass_on = True
        self.records = RecordHook()
        self.descriptors = FdCapture()
        self.writers: dict[int, LogWriter] = {}

    def wrap_streams(self) -> None:
        for name in ("stdout", "stderr"):
            stream: Any = getattr(sys, name)
            if stream is not None and not isinstance(stream, StreamProxy):
                original = self.descriptors.saved_for(stream) or stream
                setattr(sys, name, StreamProxy(name, original, pass_on=self.pass_on))

    def unwrap_streams(self) -> None:
        for name in ("stdout", "stderr"):
            stream: Any = getattr(sys, name)
            if isinstance(stream, StreamProxy):
                setattr(sys, name, stream.original)

    def leave_child(self) -> None:
        """Undo everything in a forked child: whoever forked it reads the pipes and stores the lines."""
        self.lock = threading.RLock()
        for writer in self.writers.values():
            writer.abandon()
        self.writers = {}
        PROCESS.writer = None
        CURRENT.set(None)
        if self.is_on:
            self.is_on = False
            self.records.uninstall()
            self.unwrap_streams()
            self.descriptors.forget()
            self.descriptors = FdCapture()


_capture = _Capture()
os.register_at_fork(after_in_child=lambda: _capture.leave_child())


def install(*, pass_on: bool = True, descriptors: bool = False) -> None:
    """Start to capture in this process; once more changes nothing.

    With `descriptors` also what C code and child processes write is caught; only for processes that run one
    execution at a time. Without `pass_on` what is captured does not go to the original streams as well.
    """
    with _capture.lock:
        if _capture.is_on:
            return
        _capture.is_on, _capture.pass_on = True, pass_on
        if descriptors:
            _capture.descriptors.start()
        _capture.records.install()
        _capture.wrap_streams()


def uninstall() -> None:
    """Put everything back; without `install` before it changes nothing."""
    with _capture.lock:
        if not _capture.is_on:
            return
        _capture.is_on = False
        _capture.records.uninstall()
        _capture.unwrap_streams()
        _capture.descriptors.stop()


def is_installed() -> bool:
    """Whether this process captures."""
    return _capture.is_on


def begin(writer: LogWriter) -> Begun:
    """From here on what this context writes belongs to the writer's attempt."""
    if _capture.is_on:
        # Others replace the streams as well: Celery for its redirection, pytest between two phases.
        _capture.wrap_streams()
    outer = PROCESS.writer
    if _capture.descriptors.is_on:
        # What a child process of the execution before still wrote is not this one's.
        _capture.descriptors.sync()
        _capture.descriptors.renew()
        PROCESS.writer = writer
    _capture.writers[id(writer)] = writer
    return Begun(writer, CURRENT.set(writer), outer)


def end(begun: Begun) -> bool:
    """Stop, and store what is left, before the attempt's end is written; tell whether it could be stored."""
    # Muted, not reset: what the context was before may be no value at all, and then the writer of the process
    # would take what is logged while it is flushed.
    CURRENT.set(None)
    try:
        if _capture.descriptors.is_on:
            _capture.descriptors.sync()
    finally:
        if PROCESS.writer is begun.writer:
            PROCESS.writer = begun.outer
        with contextlib.suppress(ValueError):
            CURRENT.reset(begun.token)
        _capture.writers.pop(id(begun.writer), None)
    return begun.writer.close()


@contextlib.contextmanager
def attempt(writer: LogWriter) -> Iterator[LogWriter]:
    """Capture what the body writes."""
    begun = begin(writer)
    try:
        yield writer
    finally:
        end(begun)
