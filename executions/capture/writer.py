"""Gathers the lines of one attempt and hands them on in batches."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from threading import get_ident
from typing import Protocol

from executions.capture.current import CURRENT
from executions.capture.kept import Kept, Taken
from executions.capture.lines import MAX_LINE, LineJoiner, cut
from executions.clock import SYSTEM_CLOCK, Clock
from executions.flusher import flusher_every
from executions.logs import Line
from executions.settings import Settings
from executions.telemetry import log

logger = logging.getLogger(__name__)

#: Lines and characters that wait unsorted; then the thread that writes counts and sorts them itself, so that
#: a function which prints without end cannot outgrow the limit, however late the flusher comes.
_SORT_LINES = 1000
_SORT_CHARS = 1 << 20

#: Seconds that `close` waits for a flush under way; the sink has shorter limits of its own.
_CLOSE_S = 60.0

STDOUT, STDERR, LOGGING = "stdout", "stderr", "logging"

#: The level of what has none of its own.
LEVEL_OF = {STDOUT: logging.INFO, STDERR: logging.WARNING}


class Sink(Protocol):
    """Where the batches go: `registry.logs.Logs`."""

    def append(
        self, execution_id: str, attempt: int, batches: Sequence[Sequence[Line]], drop: Sequence[int] = ()
    ) -> None:
        """Store batches of lines and remove those whose last lines are named."""


class LogWriter:
    """The writer of one attempt. `write` costs an append; one thread of the process does the rest."""

    def __init__(
        self, execution_id: str, attempt: int, sink: Sink, settings: Settings, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._flusher = flusher_every(settings.log_flush_s)
        self._execution_id = execution_id
        self._attempt = attempt
        self._sink = sink
        self._now = clock.now
        self._new: deque[tuple[float, int, str, str]] = deque()
        self._new_chars = 0
        self._settings = settings
        # Made with the first line: most executions write none, and each pays for what is made here.
        self._kept: Kept | None = None
        # Reentrant: a collected object's `__del__` may print while this thread holds it.
        self._lock = threading.RLock()
        self._sending = threading.Lock()
        self._asked = False
        self._complained = False
        self._closed = False
        self._stdout = LineJoiner(lambda line: self._put(logging.INFO, STDOUT, line))
        self._stderr = LineJoiner(lambda line: self._put(logging.WARNING, STDERR, line))

    def write(self, level: int, stream: str, message: str) -> None:
        """Take a whole message; each of its lines becomes one of the log."""
        start, end = 0, message.find("\n")
        while end >= 0:
            self._put(level, stream, cut(message, start, end))
            start, end = end + 1, message.find("\n", end + 1)
        last = message[start:] if start else message
        self._put(level, stream, last if len(last) <= MAX_LINE else cut(last, 0, len(last)))

    def feed(self, stream: str, text: str, source: int | None = None) -> None:
        """Take a piece of text of stdout or stderr, in whatever pieces it comes."""
        joiner = self._stdout if stream is STDOUT else self._stderr
        joiner.feed(text, get_ident() if source is None else source)
        if not self._asked:
            self._ask()

    def flush(self) -> bool:
        """Store what there is; tell whether it could be. What could not is tried again."""
        self._asked = False
        for joiner in (self._stdout, self._stderr):
            joiner.show_bars()
        if not self._sending.acquire(timeout=_CLOSE_S):
            return False
        # Muted: what the registry's driver logs in here is not the function's.
        token = CURRENT.set(None)
        try:
            done = self._send()
        finally:
            CURRENT.reset(token)
            self._sending.release()
        if not done and not self._closed:
            self._ask()
        return done

    def close(self) -> bool:
        """Store everything, now; what is written later is lost. Tell whether it could be stored."""
        for joiner in (self._stdout, self._stderr):
            joiner.finish()
        self._closed = True
        if self._kept is None and not self._new:
            return True
        self._flusher.forget(self)
        return self.flush()

    def abandon(self) -> None:
        """Forget everything: this is a forked child, the parent stores what was written before the fork."""
        self._closed = True
        self._new.clear()

    def _put(self, level: int, stream: str, line: str) -> None:
        if self._closed:
            return
        self._new.append((self._now(), level, stream, line))
        # Not exact where threads race; that only moves the time of sorting, which counts exactly.
        self._new_chars += len(line)
        if len(self._new) >= _SORT_LINES or self._new_chars >= _SORT_CHARS:
            self._sort()
        if not self._asked:
            self._ask()

    def _ask(self) -> None:
        self._asked = True
        self._flusher.wake(self)

    def _sort(self) -> Kept:
        with self._lock:
            if self._kept is None:
                self._kept = Kept(self._settings.log_max_lines, self._settings.log_max_bytes)
            self._new_chars = 0
            while self._new:
                self._kept.add(*self._new.popleft())
            return self._kept

    def _send(self) -> bool:
        while True:
            kept = self._sort()
            with self._lock:
                taken = kept.take()
            if not taken:
                return True
            try:
                self._sink.append(self._execution_id, self._attempt, taken.batches, taken.drop)
            except Exception as error:
                # Nothing of this may reach the function; what the limit allows is kept for the next try.
                with self._lock:
                    kept.put_back(taken)
                self._complain(error, taken)
                return False
            with self._lock:
                kept.stored(taken)
            self._complained = False
            if not self._closed:
                return True

    def _complain(self, error: Exception, taken: Taken) -> None:
        if not self._complained:
            self._complained = True
            log(
                logger,
                "logs.unwritten",
                execution=self._execution_id,
                attempt=self._attempt,
                batches=len(taken.batches),
                error=str(error),
            )
