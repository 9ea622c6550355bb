"""Waiting for a registry that is away, where giving up would lose what a function has done."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from executions.clock import SYSTEM_CLOCK
from executions.errors import Unavailable
from executions.telemetry import log

R = TypeVar("R")

#: Seconds that an end waits to be written. After that the lease decides: the worker is alive, its registry is not.
PATIENCE_S = 600.0

#: Seconds between two tries, at first and at most.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0

logger = logging.getLogger(__name__)


def patiently(call: Callable[[], R], what: str, pause_s: float = FIRST_PAUSE_S) -> R:
    """Call until the registry answers. Safe for verbs of `Transitions`, which may be called twice."""
    deadline = SYSTEM_CLOCK.monotonic() + PATIENCE_S
    waiting = threading.Event()
    while True:
        try:
            return call()
        except Unavailable as error:
            if SYSTEM_CLOCK.monotonic() > deadline:
                raise
            log(logger, "registry.unreachable", while_doing=what, error=error)
        waiting.wait(pause_s)
        pause_s = min(2 * pause_s, max(pause_s, LONGEST_PAUSE_S))
