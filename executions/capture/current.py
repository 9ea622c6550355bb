"""Which writer takes what is written here and now."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from executions.capture.writer import LogWriter

#: The writer of the execution that this thread, greenlet or task belongs to. `None` mutes: what a stream or
#: a handler writes while it passes on a line that is captured already must not be captured again.
CURRENT: ContextVar[LogWriter | None] = ContextVar("executions_log_writer")


class Process:
    """What holds for the whole process."""

    #: The writer of the only execution that can run here (a prefork child); takes what comes from threads
    #: that the function started and from the descriptors, which no context variable reaches.
    writer: LogWriter | None = None


PROCESS = Process()
