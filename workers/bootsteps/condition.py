"""Tells this machine how the worker is, and ends a worker that does not consume any more.

On a thread of its own: the others wait for servers, and a worker whose registry is away is still alive. All times are
counted in this thread's own ticks, so a pause of the whole process, or of the machine, is nobody's stall.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from celery import signals
from celery.worker import state

from executions.celery.site import Place, Site
from executions.clock import SYSTEM_CLOCK
from executions.telemetry import log
from workers.bootsteps.presence import Presence
from workers.health import STALLED_S, file_of, read, run_folder, started
from workers.processes import descendants

logger = logging.getLogger(__name__)

#: Seconds between two looks.
TICK_S = 1.0

#: Seconds after which the file of a process that is gone is taken away by the next worker that starts.
OLD_S = 3600.0

#: What a worker that could not end in order ends with: "temporary failure", so that it is started again.
EXIT_CODE = 75


class Condition(threading.Thread):
    """Watches the consumer, and writes the worker's file."""

    def __init__(self, site: Site, place: Place, presence: Presence, heard: Callable[[], float | None]) -> None:
        super().__init__(name="executions-condition", daemon=True)
        self._settings = site.settings
        self._place = place
        self._presence = presence
        self._heard = heard
        self._leaving = threading.Event()
        self._folder = run_folder(site.settings.run_dir)
        self._path = Path(file_of(self._folder, place.worker))
        self._facts = {"name": place.worker, "pid": os.getpid(), "started": started(os.getpid())[1]}
        self._writes = self._make_folder(own=not site.settings.run_dir)
        #: Whether the last try to write went well.
        self._told = True
        self._begun = False
        self._seen: float | None = None
        self._last = SYSTEM_CLOCK.monotonic()
        #: Seconds without progress; and those of them in which the registry answered.
        self._still_s = self._blamed_s = 0.0
        #: The last turn of the thread that beats, the seconds since then, and those in which the registry answered.
        self._turned = 0
        self._mute_s = self._mute_blamed_s = 0.0
        self._ending = False
        signals.worker_ready.connect(self._begin, weak=False)

    def leave(self) -> None:
        """Stop, and take the file away."""
        self._leaving.set()
        self.join(timeout=5.0)
        if self._writes and read(str(self._path)).get("pid") == os.getpid():
            self._path.unlink(missing_ok=True)

    def run(self) -> None:
        while True:
            try:
                self._look(SYSTEM_CLOCK.monotonic())
            except Exception:
                log(logger, "upkeep.failed", chore="condition", exc_info=True)
            if self._leaving.wait(TICK_S):
                break

    def _begin(self, **_: Any) -> None:
        self._begun = True

    @property
    def _draining(self) -> bool:
        return self._place.slots.draining

    def _look(self, now: float) -> None:
        step, self._last = min(now - self._last, 2 * TICK_S), now
        # On solo the loop that consumes is the one that runs: then it wants nothing.
        busy = self._place.pool == "solo" and bool(state.active_requests)
        progress = self._place.turned if self._place.progress is None else self._place.progress
        if progress is None or progress != self._seen or busy or self._draining:
            self._still_s = self._blamed_s = 0.0
        else:
            self._still_s += step
            self._blamed_s = self._blamed_s + step if self._presence.in_touch(now) else 0.0
        self._seen = progress
        stalled = self._still_s >= STALLED_S
        if stalled and not self._place.stalled:
            log(logger, "worker.stalled", worker=self._place.worker, seconds=round(self._still_s))
        self._place.stalled = stalled
        self._listen(step, now)
        self._write(now)
        if stalled and self._blamed_s >= self._settings.stalled_exit_s and not self._ending:
            self._end(self._blamed_s)

    def _listen(self, step: float, now: float) -> None:
        """See whether the thread that beats lives. If not, nobody stops what runs here, and others may run it too."""
        turned, before = self._place.slots.turned_ns, self._mute_s
        if turned != self._turned:
            self._turned, self._mute_s, self._mute_blamed_s = turned, 0.0, 0.0
            return
        heard = self._heard()
        self._mute_s += step
        if self._mute_s < STALLED_S:
            return
        if before < STALLED_S:
            log(logger, "worker.mute", worker=self._place.worker, seconds=round(self._mute_s))
        if heard is not None and now - heard <= self._settings.lease_s:
            self._mute_blamed_s += step
        if self._mute_blamed_s >= self._settings.stalled_exit_s and not self._ending:
            self._end(self._mute_blamed_s)

    def _write(self, now: float) -> None:
        if not self._writes:
            return
        told = {
            **self._facts,
            "written": now,
            "time": SYSTEM_CLOCK.now(),
            "beat": self._presence.renewed,
            "lease_s": self._settings.lease_s,
            "begun": self._begun,
            "still_s": max(self._still_s, self._mute_s),
            "running": len(self._place.slots.seen()),
            "draining": self._draining,
        }
        # Replaced as a whole; not synced, for it says nothing after a crash of the machine.
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            draft.write_text(json.dumps(told))
            draft.replace(self._path)
        except OSError as error:
            if self._told:
                log(logger, "worker.untold", error=error)
            self._told = False
        else:
            self._told = True

    def _make_folder(self, *, own: bool) -> bool:
        """Make the folder, and clear up after those that are long gone; tell whether it is one to write to."""
        folder = Path(self._folder)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = folder.lstat()
            if own and (folder.is_symlink() or found.st_uid != os.getuid() or found.st_mode & 0o077):
                raise PermissionError(f"{folder} is not this user's alone")
            for path in folder.glob("*.json"):
                told = read(str(path))
                if SYSTEM_CLOCK.now() - path.stat().st_mtime > OLD_S and not _is_there(told):
                    path.unlink(missing_ok=True)
        except OSError as error:
            log(logger, "worker.untold", error=error)
            return False
        return True

    def _end(self, seconds: float) -> None:
        """Have Celery end this worker in order; see to it that it does end, on a thread that nobody stops."""
        self._ending = True
        log(logger, "worker.gives_up", worker=self._place.worker, seconds=round(seconds))
        threading.Thread(target=self._see_to_end, name="executions-end", daemon=True).start()
        os.kill(os.getpid(), signal.SIGTERM)

    def _may_run_on(self) -> bool:
        """Whether anything runs here with a right to it: where nobody beats for children, others run theirs by now."""
        return bool(self._place.slots.seen()) and not (self._mute_s >= STALLED_S and self._place.pool == "prefork")

    def _see_to_end(self) -> None:
        """What runs may go on to its end, which is recorded without the consumer; then there is nothing to wait for."""
        idle_s, pause = 0.0, threading.Event()
        while idle_s < self._settings.grace_s:
            pause.wait(TICK_S)
            idle_s = 0.0 if self._may_run_on() else idle_s + TICK_S
        for pid in descendants(os.getpid()):
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        os._exit(EXIT_CODE)


def _is_there(told: dict[str, Any]) -> bool:
    return bool(told.get("started")) and started(told.get("pid", 0))[1] == told["started"]
