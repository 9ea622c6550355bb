"""Waiting for what other processes do, always with an end."""

from __future__ import annotations

import threading
from collections.abc import Callable

from executions.clock import SYSTEM_CLOCK

#: Seconds between two looks. Another process's death, lock or log line sends us no signal on every
#: system that we run on, so somebody has to look; twenty times a second costs nothing and feels instant.
LOOK_EVERY_S = 0.05


def wait_until(condition: Callable[[], bool], within_s: float) -> bool:
    """Look until the condition holds or the time is over; tell whether it held."""
    nobody_sets_it = threading.Event()
    deadline = SYSTEM_CLOCK.monotonic() + within_s
    while not condition():
        if SYSTEM_CLOCK.monotonic() >= deadline:
            return False
        nobody_sets_it.wait(LOOK_EVERY_S)
    return True
