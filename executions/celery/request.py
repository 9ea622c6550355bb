"""What a worker's parent knows of an execution, and what it does when the child that ran it is gone."""

from __future__ import annotations

import re
from typing import Any

from billiard.einfo import ExceptionInfo, ExceptionWithTraceback
from billiard.exceptions import Terminated as ChildTerminated
from celery.exceptions import TimeLimitExceeded, WorkerLostError
from celery.worker.request import Request
from celery.worker.state import task_ready

from executions.celery.losses import loss_of, resend, settle_loss
from executions.celery.site import site_of
from executions.dispatch import HEADER
from executions.errors import ExecutionFailed
from executions.slots import Stop


class ExecutionRequest(Request):
    """Celery's request, which knows about attempts."""

    #: Why the parent killed the child that ran this, if it did.
    killed: Stop = Stop.NONE
    #: How that child ended, as an exit code (a signal is a negative number), and whether memory had run out.
    exit_code: int | None = None
    out_of_memory: bool = False
    #: How many attempts have ended like this one, where they are too many for another.
    losses: int = 0
    #: How the loss of its child was settled: `terminated`, `rerun`, `failed` or `lost` (the rescuer does it).
    settled: str = ""
    #: Celery's own time limit, if that is what was reached.
    limit_s: float | None = None

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        """A failure reported by the pool: of the function, or of the child that ran it."""
        exc = getattr(exc_info, "exception", None)
        # The pool hands over the exception itself, or wrapped with its traceback.
        exc = exc.exc if isinstance(exc, ExceptionWithTraceback) else exc
        site = site_of(self.app)
        if site is not None and isinstance(exc, MemoryError):
            # Celery would end the worker for it, with all that its other children run.
            exc = exc_info.exception = ExecutionFailed("MemoryError", str(exc))
        gone = isinstance(exc, WorkerLostError | SystemExit | ChildTerminated)
        if site is None or not (gone or self.settled or self.killed is not Stop.NONE):
            return super().on_failure(exc_info, send_failed_event, return_ok)
        if self._already_revoked or self._already_cancelled:
            return super().on_failure(exc_info, send_failed_event, return_ok)
        if self.exit_code is None:
            self.exit_code = _exit_code(exc)
            self.out_of_memory = self.out_of_memory or site.here.memory_ran_out()
        settle_loss(site, self)
        if self.settled in ("terminated", "rerun", "lost"):
            return self._leave()
        return super().on_failure(_info(loss_of(site, self)), send_failed_event, return_ok)

    def maybe_expire(self) -> bool:
        """Leave an execution to its start, which goes by the registry's clock: that of this machine may be wrong."""
        return HEADER not in self.request_dict and bool(super().maybe_expire())

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Celery's own time limit was reached; the policy may want another attempt."""
        site = site_of(self.app)
        if not soft and site is not None:
            self.killed = Stop.TIMEOUT
            self.limit_s = timeout
            settle_loss(site, self)
            if self.settled in ("terminated", "rerun", "lost"):
                self._leave()
                return
        super().on_timeout(soft, timeout)

    def _announce_cancelled(self, *args: Any, **kwargs: Any) -> None:
        """The broker's connection was lost and Celery killed the child: the message that comes again is refused."""
        super()._announce_cancelled(*args, **kwargs)
        site = site_of(self.app)
        if site is not None:
            resend(site, self, "cancelled by Celery: the connection to the broker was lost")

    def _leave(self) -> None:
        """Nothing is left for Celery but to let go of the message."""
        task_ready(self)
        self.acknowledge()
        if self.settled == "terminated" and not self._already_revoked:
            self._announce_revoked("terminated", True, "SIGKILL", False)
        elif self.settled == "rerun":
            self.send_event("task-retried", exception=str(self.killed.name), traceback="")


def _exit_code(error: Any) -> int | None:
    """Read how a child ended from the pool's words, which are all that it hands on."""
    found = re.search(r"(signal|exitcode) (\d+)", str(error)) if isinstance(error, WorkerLostError) else None
    return None if found is None else int(found[2]) * (-1 if found[1] == "signal" else 1)


def _info(error: Exception) -> ExceptionInfo:
    """Wrap an error as the pool does; a limit under the name that Celery knows."""
    known = TimeLimitExceeded(str(error)) if isinstance(error, TimeoutError) else error
    try:
        raise known
    except Exception:
        return ExceptionInfo()
