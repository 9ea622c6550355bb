"""`python -m tests.moved ...`: Celery's command in a process whose wall clock is moved by what a file says.

The file is named by `MOVED_BY`, holds seconds, and is read again whenever the time is asked for. Everything written in
Python that asks for the time sees the moved clock; what is written in C, and the monotonic clock, do not.
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import signal
import sys
import time
from contextlib import suppress
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import celery

_FILE = Path(os.environ["MOVED_BY"])  # noqa: TID251


def moved_by() -> float:
    """Give the seconds that the clock is ahead now."""
    with suppress(OSError, ValueError):
        return float(_FILE.read_text())
    return 0.0


def moved_time() -> float:
    return time.clock_gettime(time.CLOCK_REALTIME) + moved_by()


class MovedDatetime(datetime):
    """What Celery compares the end of a message's validity with."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> MovedDatetime:
        return super().now(tz) + timedelta(seconds=moved_by())


if __name__ == "__main__":
    # Where each thread stands, for whoever finds the process stuck; Python need not run for it.
    faulthandler.register(signal.SIGUSR2)
    time.time = moved_time  # noqa: TID251
    # Before the imports: a real lock among gevent's would halt the whole process.
    celery.maybe_patch_concurrency()
    importlib.import_module("executions.clock").SystemClock.now = lambda self: moved_time()  # type: ignore[attr-defined]
    importlib.import_module("celery.worker.request").datetime = MovedDatetime  # type: ignore[attr-defined]
    sys.exit(importlib.import_module("celery.__main__").main())
