"""Logging is captured where a record is handed to the handlers.

There it has passed its logger's level and filters, and it does not matter which handlers there are or whether
the logger propagates (`celery.task` does not). A handler of our own on the root logger would miss those; a
record factory would also see records that a filter refuses, and any other library may replace it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from executions.capture.current import CURRENT, PROCESS
from executions.capture.writer import LOGGING

_formatter = logging.Formatter()


class RecordHook:
    """Wraps `Logger.callHandlers` while it is installed."""

    def __init__(self) -> None:
        self._original: Callable[[logging.Logger, logging.LogRecord], None] | None = None
        self._wrapper: Any = None

    def install(self) -> None:
        if self._original is not None:
            return
        original = self._original = logging.Logger.callHandlers

        def callHandlers(logger: logging.Logger, record: logging.LogRecord) -> None:
            writer = CURRENT.get(PROCESS.writer)
            if writer is None:
                original(logger, record)
                return
            writer.write(record.levelno, LOGGING, render(record))
            # Handlers may write to the replaced streams: the line is captured already.
            token = CURRENT.set(None)
            try:
                original(logger, record)
            finally:
                CURRENT.reset(token)

        self._wrapper = callHandlers
        logging.Logger.callHandlers = callHandlers  # type: ignore[method-assign,assignment]

    def uninstall(self) -> None:
        # Where somebody wrapped it once more it stays: without a writer it only passes on.
        if self._original is not None and logging.Logger.callHandlers is self._wrapper:
            logging.Logger.callHandlers = self._original  # type: ignore[method-assign,assignment]
            self._original = None


def render(record: logging.LogRecord) -> str:
    """Give a record's text, with its traceback; never fail because of what the function logged."""
    try:
        text = record.getMessage()
    except Exception as error:
        text = f"{record.msg!s:.1000} (its arguments do not fit: {type(error).__name__})"
    if record.exc_info:
        text = f"{text}\n{_formatter.formatException(record.exc_info)}"
    elif record.exc_text:
        text = f"{text}\n{record.exc_text}"
    if record.stack_info:
        text = f"{text}\n{record.stack_info}"
    return text
