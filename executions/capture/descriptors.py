"""What C extensions and child processes write to descriptors 1 and 2.

    print() -> proxy -> saved descriptor            (captured by the proxy)
    C code, child process -> pipe in 1 or 2 -> reader thread -> saved descriptor
                                                    (captured by the reader)

Only for processes that run one execution at a time (prefork children): bytes have no context variable.
The reader needs the interpreter's lock. So native code that holds the lock while it writes more than a pipe
takes waits for ever, as it would on any full pipe; the hard stop ends it. A file instead of a pipe would not
block, but would grow without bound under a child process that prints without end.
"""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import fcntl
import io
import logging
import os
import select
import sys
import threading
from typing import Any, TextIO

from executions.capture.current import CURRENT, PROCESS
from executions.capture.streams import BytesFeed
from executions.capture.writer import STDERR, STDOUT
from executions.clock import SYSTEM_CLOCK

#: Bytes that a pipe should hold. Not the allowed MiB: an unprivileged user may have 64 MiB of pipes in all,
#: which is two for each of 128 children.
_PIPE_BYTES = 256 * 1024
_READ_BYTES = 64 * 1024

#: Seconds that the end of an attempt waits at most for what it wrote to come out of the pipes.
_SYNC_S = 2.0

_IOLBF = 1


class _Channel:
    """One descriptor, the pipe that took its place, and where its bytes went before."""

    def __init__(self, stream: str, fd: int) -> None:
        self.fd = fd
        self.stream = stream
        self.feed = BytesFeed(stream, -fd)
        # None of these is inherited by what the function starts; descriptor `fd` itself is.
        self.saved = os.dup(fd)
        self.read_end, write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        with contextlib.suppress(OSError, AttributeError):
            fcntl.fcntl(self.read_end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        os.dup2(write_end, fd)
        os.close(write_end)
        self.text = io.TextIOWrapper(
            io.BufferedWriter(io.FileIO(self.saved, "w", closefd=False)),
            encoding="utf-8",
            errors="backslashreplace",
            line_buffering=True,
        )

    def take(self) -> int:
        """Move one piece on; give its length, 0 where there is none."""
        try:
            data = os.read(self.read_end, _READ_BYTES)
        except BlockingIOError:
            return 0
        writer = PROCESS.writer
        if writer is not None:
            self.feed(writer, data)
        self._pass_on(data)
        return len(data)

    def _pass_on(self, data: bytes) -> None:
        rest = memoryview(data)
        # The terminal, or whatever was there, may be gone; then the log is what remains.
        with contextlib.suppress(OSError):
            while rest:
                rest = rest[os.write(self.saved, rest) :]

    def restore(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self.text.flush()
        os.dup2(self.saved, self.fd)


class FdCapture:
    """Puts pipes in the place of descriptors 1 and 2, and reads them in a thread."""

    def __init__(self) -> None:
        self._channels: list[_Channel] = []
        self._moved: list[tuple[Any, str, Any]] = []
        self._reading = threading.Lock()
        self._stop = -1
        self._thread: threading.Thread | None = None
        self._libc_out: Any = None
        self._kept_by_others: list[Any] = []

    @property
    def is_on(self) -> bool:
        return bool(self._channels)

    def start(self) -> None:
        """Begin; Python's own streams and log handlers go to the saved descriptors from here on."""
        if self._channels:
            return
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        self._channels = [_Channel(STDOUT, 1), _Channel(STDERR, 2)]
        self._libc_out = _line_buffered_stdout()
        self._point_python_at_saved()
        wake, self._stop = os.pipe()
        self._thread = threading.Thread(
            target=contextvars.Context().run, args=(self._run, wake), name="executions-fds", daemon=True
        )
        self._thread.start()

    def sync(self) -> None:
        """Return when all that was written before is where it belongs, or after a bounded time."""
        self._flush_buffers()
        # The reader may have taken the last piece and not yet have handed it on.
        if self._poll().poll(0) or self._reading.locked():
            self._drain()

    def _poll(self) -> select.poll:
        # A new one each time: an object of two threads at once refuses to work.
        poll = select.poll()
        for channel in self._channels:
            poll.register(channel.read_end, select.POLLIN)
        return poll

    def _drain(self) -> None:
        deadline = SYSTEM_CLOCK.monotonic() + _SYNC_S
        for channel in self._channels:
            # No more than a pipe holds: a child process may go on writing for ever.
            left = max(_PIPE_BYTES, _READ_BYTES)
            while left > 0 and SYSTEM_CLOCK.monotonic() < deadline:
                if not self._reading.acquire(timeout=_SYNC_S):
                    return
                try:
                    size = channel.take()
                finally:
                    self._reading.release()
                if not size:
                    break
                left -= size

    def renew(self) -> None:
        """Forget halves of characters of the execution before."""
        for channel in self._channels:
            channel.feed.renew()

    def stop(self) -> None:
        """Put everything back."""
        if not self._channels:
            return
        self.sync()
        self.forget()
        for channel in self._channels:
            channel.restore()
        os.close(self._stop)
        if self._thread is not None:
            self._thread.join(_SYNC_S)
        for channel in self._channels:
            os.close(channel.read_end)
            with contextlib.suppress(OSError, ValueError):
                channel.text.close()
            os.close(channel.saved)
        self._channels = []

    def forget(self) -> None:
        """Let Python write to descriptors 1 and 2 again, as it must in a forked child: its parent reads them."""
        while self._moved:
            holder, name, before = self._moved.pop()
            # Where others have replaced it since, it is theirs.
            if any(getattr(holder, name) is channel.text for channel in self._channels):
                setattr(holder, name, before)

    def _run(self, wake: int) -> None:
        CURRENT.set(None)
        channels = {channel.read_end: channel for channel in self._channels}
        poll = self._poll()
        poll.register(wake, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == wake:
                    os.close(wake)
                    return
                with self._reading:
                    channels[fd].take()

    def _flush_buffers(self) -> None:
        for stream in self._kept_by_others:
            try:
                stream.flush()
            except (OSError, ValueError):  # Closed, or gone.
                pass
        if self._libc_out is not None:
            libc, stdout = self._libc_out
            libc.fflush(stdout)

    def _point_python_at_saved(self) -> None:
        for name in ("stdout", "stderr", "__stdout__", "__stderr__"):
            self._move(sys, name)
        loggers = [logging.root, *logging.root.manager.loggerDict.values()]
        for logger in loggers:
            for handler in getattr(logger, "handlers", ()):
                if isinstance(handler, logging.StreamHandler):
                    self._move(handler, "stream")

    def _move(self, holder: Any, name: str) -> None:
        stream: Any = getattr(holder, name)
        text = self.saved_for(stream)
        if text is not None:
            self._moved.append((holder, name, stream))
            if holder is sys and stream not in self._kept_by_others:
                # Whoever took it before (`from sys import stdout`) goes on writing into its buffer.
                self._kept_by_others.append(stream)
            setattr(holder, name, text)

    def saved_for(self, stream: Any) -> TextIO | None:
        """Give the stream that writes to where this one wrote before the pipes, if it writes to one of them."""
        try:
            fd = stream.fileno()
        except (OSError, ValueError, AttributeError):
            return None
        return next((channel.text for channel in self._channels if channel.fd == fd), None)


def _line_buffered_stdout() -> Any:
    """Make C's stdout pass on each line: with a pipe behind it, it would wait for 4 KiB."""
    try:
        libc = ctypes.CDLL(None)
        # Only stdout, not fflush(NULL): that waits for a thread which reads C's stdin.
        stdout = ctypes.c_void_p.in_dll(libc, "stdout")
        libc.setvbuf(stdout, None, _IOLBF, 0)
    except (OSError, ValueError, AttributeError):
        return None
    return libc, stdout
