"""A process beside a worker that keeps the worker's lease while its interpreter is held.

On threads, solo and gevent functions run in the process that beats. C code that holds the interpreter's lock, or code
that never lets the other greenlets run, keeps it from beating, and the worker would be taken for dead with the
function in full run. This process sees what runs there in shared memory, and beats in its place.

| what happens | what it does |
|---|---|
| the worker beats | nothing |
| it does not, and something runs there | beats, and says in the worker's file that it lives |
| it does not, and nothing runs there | nothing: whoever holds the interpreter then is no function of ours |
| it is stopped, or gone | nothing; it ends with the worker |
| all that runs there is over its time, or asked to end | kills the worker: nothing else is left |
| it dies itself | the worker starts another one |
| it hangs itself, or was stopped | the worker kills it after some leases, and starts another one |
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from executions.clock import SYSTEM_CLOCK
from executions.errors import ExecutionsError
from executions.registry.space import Space
from executions.registry.workers import StopCommand, Workers
from executions.settings import Settings
from executions.slots import Seen, Slots, Stop
from executions.telemetry import Outage, log
from workers.bootsteps.stops import Stopper
from workers.health import file_of, read, run_folder, started
from workers.processes import descendants

logger = logging.getLogger(__name__)

#: Seconds from one start of the process to the next.
AGAIN_S = 5.0

#: Leases without a sign of life after which it is replaced: it starts up within them, and waits for servers.
HANGS_LEASES = 3

#: The longest step between two looks that counts, in seconds: a pause of the machine is not its fault.
STEP_S = 1.0

#: Signals to a whole group of processes are meant for the worker, which may take its time.
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP)


class Pacemaker:
    """The worker's side: starts the process, and starts it again where it has died."""

    def __init__(self, settings: Settings, worker: str, slots: Slots) -> None:
        self._told = {"settings": asdict(settings), "worker": worker, "pid": os.getpid(), "slots": slots.count}
        self._slots = slots
        self._process: subprocess.Popen[bytes] | None = None
        self._begun: float | None = None
        self._hangs_s = HANGS_LEASES * settings.lease_s
        #: Its last sign of life, the seconds since then, and when that was looked for.
        self._seen, self._still_s, self._last = 0, 0.0, 0.0

    def look(self, now: float) -> None:
        """See to it that the process is there; one that cannot live is not started all the time."""
        if self._slots.file is None:
            return
        self._end_if_it_hangs(now)
        if self._process is not None and self._process.poll() is None:
            return
        if self._begun is not None and now - self._begun < AGAIN_S:
            return
        self._begun, self._still_s = now, 0.0
        self._process = subprocess.Popen(
            # Not the folder it is started in: a file there may have any name.
            [sys.executable, "-P", "-m", "workers.bootsteps.pacemaker", str(self._slots.file)],
            stdin=subprocess.PIPE, pass_fds=(self._slots.file,),
        )  # fmt: skip
        # What it has to know goes past the command line, which all users of a machine can read.
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(self._told).encode())
        self._process.stdin.close()

    def _end_if_it_hangs(self, now: float) -> None:
        seen, step, self._last = self._slots.paced_ns, min(now - self._last, STEP_S), now
        self._still_s = self._still_s + step if seen == self._seen else 0.0
        self._seen = seen
        if self._still_s >= self._hangs_s:
            self._still_s = 0.0
            log(logger, "worker.pacemaker_stuck", seconds=round(self._hangs_s))
            self.end()

    def end(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Held:
    """The pool of a worker whose interpreter is held: only a kill of the whole is left."""

    has_children = False

    def __init__(self) -> None:
        #: The tokens of what has to be killed.
        self.condemned: set[int] = set()

    def wake(self, seen: Seen) -> None:
        """Nothing would hear it."""

    def interrupt(self, seen: Seen, kind: Stop, again: bool) -> bool:
        """Nothing would hear it."""
        return False

    def kill(self, seen: Seen) -> bool:
        """Nothing here can be killed alone."""
        return False

    def condemn(self, seen: Seen, kind: Stop) -> None:
        self.condemned.add(seen.token)


class Watch:
    """The process's side: looks at the worker and does what its own beats cannot."""

    def __init__(self, settings: Settings, workers: Workers, worker: str, pid: int, slots: Slots) -> None:
        self._settings, self._workers, self._worker = settings, workers, worker
        self._pid, self._slots = pid, slots
        self._client: Any = None
        self._path = Path(file_of(run_folder(settings.run_dir), worker))
        #: The term that is known to be over.
        self._over = ""
        self._begin()

    def _begin(self) -> None:
        self._pool = Held()
        self._stopper = Stopper(
            self._slots, self._pool, self._settings, on_kill=self._pool.condemn, on_stuck=self._pool.condemn
        )

    def look(self, now: float) -> None:
        """Do what is to be done now."""
        silent_s = now - self._slots.turned_ns / 1e9
        if silent_s < self._settings.beat_s or started(self._pid)[0] in ("", "T", "t", "X", "Z"):
            self._begin()
            return
        if not self._slots.seen():
            return
        for command in self._beat(now):
            self._stopper.ask(command, now)
        if silent_s >= self._settings.lease_s:
            self._stopper.tick(now)
            self._kill_if_all_must_end()

    def _beat(self, now: float) -> list[StopCommand]:
        term = f"{self._worker}#{self._slots.incarnation}"
        if term == self._over:
            return []
        self._client = self._client or self._workers.own_client()
        answer = self._workers.beat(term, None, anew=False, client=self._client)
        if not answer.stands:
            self._over = term
            return []
        self._tell(now)
        return answer.stops

    def _tell(self, now: float) -> None:
        """Say in the worker's file that it lives and is registered; it says the rest itself when it can again."""
        told = read(str(self._path))
        if told.get("pid") == self._pid:
            draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
            draft.write_text(json.dumps({**told, "written": now, "beat": now}))
            draft.replace(self._path)

    def _kill_if_all_must_end(self) -> None:
        running = {seen.token for seen in self._slots.seen()}
        if not running or running - self._pool.condemned:
            return
        term = f"{self._worker}#{self._slots.incarnation}"
        log(logger, "worker.held", worker=self._worker, functions=len(running))
        for pid in (*descendants(self._pid), self._pid):
            if pid != os.getpid():
                os.kill(pid, signal.SIGKILL)
        # It is dead, so what ran there need not wait for the end of its lease.
        self._workers.give_up(term)


def main() -> None:
    """Watch the worker until it is gone."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    told = json.load(sys.stdin)
    worker = os.pidfd_open(told["pid"])
    settings = Settings(**told["settings"])
    slots = Slots(told["slots"], int(sys.argv[1]))
    watch = Watch(settings, Workers(Space(settings)), told["worker"], told["pid"], slots)
    gone = select.poll()
    gone.register(worker, select.POLLIN)
    outage = Outage(logger, "beat for a worker")
    while not gone.poll(settings.beat_s * 500):
        slots.pace(time.monotonic_ns())
        try:
            watch.look(SYSTEM_CLOCK.monotonic())
            outage.over()
        except (ExecutionsError, OSError) as error:
            outage.goes_on(error)


if __name__ == "__main__":
    main()
