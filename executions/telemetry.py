"""The log events of the library itself: a fixed word for each, and ids as fields.

`log(logger, "worker.lost", worker=...)` writes one line that people can read and machines can sort.
"""

from __future__ import annotations

import logging
from typing import Any

from executions.clock import SYSTEM_CLOCK, Clock

#: action -> (level, who must act)
ACTIONS: dict[str, tuple[int, str]] = {
    "execution.refused": (logging.INFO, "nobody: a duplicate or cancelled message was dropped"),
    "execution.killed": (logging.WARNING, "the function's author: it did not reach a checkpoint"),
    "execution.uninterruptible": (logging.WARNING, "the operator: this pool cannot stop the function"),
    "execution.late_write": (logging.WARNING, "nobody: the fence refused an old owner's write"),
    "execution.unrecorded": (logging.ERROR, "the operator: the registry did not take a transition"),
    "execution.rescued": (logging.WARNING, "the operator: a worker died"),
    "execution.overdue": (logging.ERROR, "the operator: a worker does not end what is over its time limit"),
    "execution.republished": (logging.WARNING, "the operator: a message was lost"),
    "cache.unused": (
        logging.WARNING,
        "the operator: the cache or the payload store was away, a function was run all the same",
    ),
    "execution.unsendable": (logging.ERROR, "the operator: a record is broken, its message cannot be made"),
    "message.unreadable": (logging.ERROR, "the operator: a message that is none was taken off a queue"),
    "message.given_back": (logging.WARNING, "nobody: what a lost worker or connection held is in its queue again"),
    "broker.refused": (logging.ERROR, "the operator: the broker does not let the worker take messages"),
    "code.untold": (logging.WARNING, "nobody: author and message of the code are not shown"),
    "logs.unwritten": (logging.WARNING, "the operator: log lines could not be stored"),
    "worker.lost": (logging.WARNING, "the operator: a worker stopped beating"),
    "worker.stuck": (logging.ERROR, "nobody: a worker that did not end by itself was killed; nothing ran in it"),
    "worker.child_stuck": (logging.ERROR, "nobody: a child that did not begin what it was given was replaced"),
    "worker.pacemaker_stuck": (logging.WARNING, "nobody: the process that beats for a held worker was replaced"),
    "worker.mute": (logging.ERROR, "nobody: the thread that beats hangs, the worker ends for its supervisor"),
    "worker.draining": (logging.INFO, "nobody: a worker takes nothing new"),
    "worker.term_over": (logging.ERROR, "the operator: this worker was declared dead and starts anew"),
    "worker.stalled": (logging.ERROR, "the operator: the broker does not answer this worker's consumer"),
    "worker.gives_up": (logging.ERROR, "nobody: it did not consume any more, and ends for its supervisor"),
    "worker.held": (
        logging.ERROR,
        "the author: native code held the interpreter beyond its time, its worker was killed",
    ),
    "worker.untold": (logging.ERROR, "the operator: the worker's file cannot be written, `executions-health` says no"),
    "service.slot_kept": (logging.WARNING, "nobody: upkeep takes the slot back"),
    "service.reset": (logging.INFO, "nobody: the service was updated, old executions end"),
    "service.undeclared": (logging.WARNING, "nobody: the registry was away, the service is stored at its next use"),
    "function.undescribed": (logging.WARNING, "the function's author: the catalogue does not show it"),
    "upkeep.failed": (logging.ERROR, "the operator: a chore failed and will be tried again"),
    "upkeep.leading": (logging.INFO, "nobody"),
    "server.failed": (logging.ERROR, "us: a request met an error that nobody expected"),
    "live.interrupted": (logging.WARNING, "nobody: live views stood still until the registry answered again"),
    "bulk.interrupted": (logging.WARNING, "nobody: it goes on once the registry answers again"),
    "audit.unwritten": (logging.ERROR, "the operator: what somebody did is not in the audit log"),
    "registry.unreachable": (logging.ERROR, "the operator: the server does not answer"),
    "registry.reached": (logging.INFO, "nobody: the server answers again"),
}

#: Seconds between two lines about one outage.
OUTAGE_TOLD_EVERY_S = 30.0


def log(logger: logging.Logger, action: str, **fields: Any) -> None:
    """Write one event; `exc_info=True` adds the traceback."""
    exc_info = fields.pop("exc_info", None)
    level, _ = ACTIONS[action]
    if not logger.isEnabledFor(level):
        return
    words = " ".join(f"{name}={value}" for name, value in fields.items())
    logger.log(level, "%s %s", action, words, exc_info=exc_info, extra={"action": action, "fields": fields})


class Outage:
    """What a loop tells of a registry that is away: that it is, now and then that it still is, and that it is back."""

    def __init__(self, logger: logging.Logger, while_doing: str, clock: Clock = SYSTEM_CLOCK) -> None:
        self._logger, self._while_doing, self._clock = logger, while_doing, clock
        self._began: float | None = None
        self._told = 0.0

    def goes_on(self, error: Exception) -> None:
        now = self._clock.monotonic()
        if self._began is None:
            self._began = now
        elif now < self._told + OUTAGE_TOLD_EVERY_S:
            return
        self._told = now
        log(self._logger, "registry.unreachable", while_doing=self._while_doing, error=error)

    def over(self) -> None:
        if self._began is not None:
            lasted_s = round(self._clock.monotonic() - self._began, 1)
            log(self._logger, "registry.reached", while_doing=self._while_doing, lasted_s=lasted_s)
            self._began = None
