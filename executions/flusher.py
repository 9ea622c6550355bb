"""One thread in each process that writes gathered words every moment: progress, metrics, lines of output."""

from __future__ import annotations

import contextvars
import functools
import os
import threading
from typing import Protocol


class Flushable(Protocol):
    """Something that gathers and can write what it gathered."""

    def flush(self) -> object: ...


class Flusher:
    """Flushes whoever woke it, once each interval. The thread starts with the first word, and anew after a fork."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        # Reentrant: while it is held an object may be collected whose `__del__` prints.
        self._lock = threading.RLock()
        self._wanting: dict[int, Flushable] = {}
        self._wanted = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def wake(self, who: Flushable) -> None:
        """Have `who` flushed within the interval."""
        if self._pid != os.getpid():
            self._reset()
        with self._lock:
            self._wanting[id(who)] = who
            if self._thread is None:
                # An empty context: the thread is nobody's, least of all the execution's that happened to start it.
                run = contextvars.Context().run
                self._thread = threading.Thread(target=run, args=(self._run,), name="executions-flusher", daemon=True)
                self._thread.start()
        self._wanted.set()

    def forget(self, who: Flushable) -> None:
        """Do not flush `who` any more; it has ended and flushed itself."""
        with self._lock:
            self._wanting.pop(id(who), None)

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            # Gather for one interval, then write what everybody has.
            self._stop.wait(self._interval_s)
            self._wanted.clear()
            with self._lock:
                waiting, self._wanting = list(self._wanting.values()), {}
            for who in waiting:
                who.flush()


@functools.cache
def flusher_every(interval_s: float) -> Flusher:
    """Give this process's flusher of an interval."""
    return Flusher(interval_s)
