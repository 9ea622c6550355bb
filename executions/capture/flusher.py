"""One thread of the process that stores what the writers have gathered."""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from typing import Protocol

from executions.capture.current import CURRENT

#: Seconds between two tries while the registry cannot be reached.
_RETRY_S = 1.0


class Flushed(Protocol):
    """What the flusher asks of a writer."""

    flush_s: float

    def flush(self) -> bool:
        """Store what there is; tell whether it worked."""


class Flusher:
    """Sleeps while nothing is written; then waits one interval, so that lines go out in batches."""

    def __init__(self) -> None:
        self._waiting: deque[Flushed] = deque()
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def ask(self, writer: Flushed) -> None:
        """Flush the writer after its interval."""
        self._waiting.append(writer)
        if self._thread is None:
            self._start()
        self._wake.set()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                # An empty context: the thread must not belong to the execution that happened to start it.
                self._thread = threading.Thread(
                    target=contextvars.Context().run,
                    args=(self._run,),
                    name="executions-logs",
                    daemon=True,
                )
                self._thread.start()

    def _run(self) -> None:
        CURRENT.set(None)
        pause = threading.Event()
        while True:
            self._wake.wait()
            self._wake.clear()
            waiting = list(self._waiting)
            pause.wait(min((writer.flush_s for writer in waiting), default=0))
            failed = [writer for writer in self._take() if not writer.flush()]
            if failed:
                pause.wait(_RETRY_S)
                for writer in failed:
                    self.ask(writer)

    def _take(self) -> list[Flushed]:
        taken: dict[int, Flushed] = {}
        while self._waiting:
            writer = self._waiting.popleft()
            taken[id(writer)] = writer
        return list(taken.values())


class FlusherOfProcess:
    """Holds the flusher; a forked child gets a new one, since threads do not follow a fork."""

    def __init__(self) -> None:
        self._flusher = Flusher()

    def ask(self, writer: Flushed) -> None:
        self._flusher.ask(writer)

    def renew(self) -> None:
        self._flusher = Flusher()


FLUSHER = FlusherOfProcess()
