"""What runs in this worker, in memory that a worker's parent and its children share.

A slot belongs to one place where a function can run: a child process, a thread, a greenlet. The one that runs
writes who it is and until when it may run; the parent reads that, and writes there whom it wants to stop.
A stop names its execution by a token, so a late one can never hit the next execution in the same slot.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import threading
from dataclasses import dataclass
from enum import IntEnum

#: 64-bit cells of one slot.
WIDTH = 11
TOKEN, STOP, KIND, DEADLINE, SOFT_DEADLINE, PID, THREAD, FLAGS, SERVICE, VERSION, BEGUN = range(WIDTH)

#: FLAGS: the function is a coroutine, so a stop has to wake its event loop.
IS_ASYNC = 1


#: 64-bit cells behind the slots.
_CELLS_BEHIND = 5


class Stop(IntEnum):
    """Why a function has to stop."""

    NONE = 0
    TERMINATE = 1
    TIMEOUT = 2
    SOFT_TIME_LIMIT = 3
    #: Its service was updated, and this version's time is over.
    RESET = 4
    #: Its worker's term is over: somebody else may run it by now.
    LOST = 5
    #: Its worker shuts down, and has waited long enough.
    DRAIN = 6


def token_of(execution_id: str, attempt: int) -> int:
    """Give the number that stands for one attempt; never zero."""
    digest = hashlib.blake2b(f"{execution_id}\x00{attempt}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") | 1


def service_token(name: str) -> int:
    """Give the number that stands for a service; never zero."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") | 1


@dataclass(frozen=True)
class Seen:
    """One occupied slot, as the parent sees it."""

    index: int
    token: int
    deadline_ns: int
    soft_deadline_ns: int
    pid: int
    thread: int
    is_async: bool
    #: The token of the service, and its version; zero without one.
    service: int = 0
    version: int = 0


def make_file(count: int) -> int | None:
    """Make a file in memory for so many slots and give its descriptor; nothing where the system has none."""
    if not hasattr(os, "memfd_create"):
        return None
    file = os.memfd_create("executions-slots")
    os.ftruncate(file, _size(count))
    return file


def _size(count: int) -> int:
    return (count * WIDTH + _CELLS_BEHIND) * 8


class Slots:
    """The table. Made in the parent before its children are forked, which then share it.

    With a file (see `make_file`) a process that was not forked can share it too.
    """

    def __init__(self, count: int, file: int | None = None) -> None:
        self.count = count
        self.file = file
        self._memory = mmap.mmap(-1 if file is None else file, _size(count))
        self.cells = memoryview(self._memory).cast("Q")
        #: Cells behind the slots: the worker's term, until when (monotonic clock) its lease lasts, whether it drains,
        #: when its own thread was last seen, and when its pacemaker was.
        self._term_cell, self._lease_cell, self._drain_cell, self._turn_cell, self._pace_cell = (
            count * WIDTH + at for at in range(_CELLS_BEHIND)
        )
        self._free = list(range(count - 1, -1, -1))
        self._lock = threading.Lock()

    def hold(self, incarnation: str, until_ns: int) -> None:
        """Say under which term things start here, and until when they may."""
        self.cells[self._lease_cell] = 1
        self.cells[self._term_cell] = int(incarnation, 16)
        self.cells[self._lease_cell] = max(1, until_ns)

    @property
    def incarnation(self) -> str:
        """What tells the worker's term from its others; nothing outside a worker."""
        return f"{term:016x}" if (term := self.cells[self._term_cell]) else ""

    def may_start(self, now_ns: int) -> bool:
        """Whether the worker has the right to start something; outside a worker everybody has."""
        until_ns = self.cells[self._lease_cell]
        return until_ns == 0 or now_ns < until_ns

    def turn(self, now_ns: int) -> None:
        """Say that the worker's own thread gets to run."""
        self.cells[self._turn_cell] = now_ns

    @property
    def turned_ns(self) -> int:
        """When the worker's own thread last got to run (monotonic clock)."""
        return self.cells[self._turn_cell]

    def pace(self, now_ns: int) -> None:
        """Say that the process beside the worker gets to run."""
        self.cells[self._pace_cell] = now_ns

    @property
    def paced_ns(self) -> int:
        """When that process last got to run (monotonic clock)."""
        return self.cells[self._pace_cell]

    def drain(self, on: bool) -> None:
        """Let nothing more start here, or let it again."""
        self.cells[self._drain_cell] = int(on)

    @property
    def draining(self) -> bool:
        """Whether what comes now is handed back."""
        return bool(self.cells[self._drain_cell])

    def take(self) -> int:
        """Claim a slot for a thread or greenlet of this process."""
        with self._lock:
            if not self._free:
                raise RuntimeError("no free slot: more functions run at once than the pool was made for")
            return self._free.pop()

    def give_back(self, index: int) -> None:
        """Return a claimed slot."""
        with self._lock:
            self._free.append(index)

    def occupy(
        self,
        index: int,
        token: int,
        *,
        pid: int,
        thread: int,
        is_async: bool = False,
    ) -> None:
        """Say who runs in a slot from now on. The token is written last: until then nobody is there."""
        at = index * WIDTH
        cells = self.cells
        cells[at + TOKEN] = 0
        cells[at + STOP] = 0
        cells[at + KIND] = 0
        cells[at + DEADLINE] = 0
        cells[at + SOFT_DEADLINE] = 0
        cells[at + PID] = pid
        cells[at + THREAD] = thread
        cells[at + FLAGS] = IS_ASYNC if is_async else 0
        cells[at + SERVICE] = 0
        cells[at + VERSION] = 0
        cells[at + TOKEN] = token

    def begin(self, index: int, token: int) -> None:
        """Say what was last begun, or refused, in a slot; that stays when the slot is left."""
        self.cells[index * WIDTH + BEGUN] = token

    def has_begun(self, index: int, token: int) -> bool:
        """Whether that is this one."""
        return self.cells[index * WIDTH + BEGUN] == token

    def belong(self, index: int, service: int, version: int) -> None:
        """Say under which version of which service it runs."""
        at = index * WIDTH
        self.cells[at + VERSION] = version
        self.cells[at + SERVICE] = service

    def limit(self, index: int, deadline_ns: int, soft_deadline_ns: int = 0) -> None:
        """Say until when (by the monotonic clock, which all processes of a machine share) it may run."""
        at = index * WIDTH
        self.cells[at + DEADLINE] = deadline_ns
        self.cells[at + SOFT_DEADLINE] = soft_deadline_ns

    def leave(self, index: int, token: int = 0) -> None:
        """Say that nobody runs in a slot any more; with a token, only where it is still that one."""
        at = index * WIDTH
        if token and self.cells[at + TOKEN] != token:
            return
        self.cells[at + TOKEN] = 0
        self.cells[at + DEADLINE] = 0
        self.cells[at + SOFT_DEADLINE] = 0
        self.cells[at + STOP] = 0

    def ask_to_stop(self, index: int, token: int, kind: Stop) -> None:
        """Leave a stop for the execution with this token; another one will not mind it."""
        at = index * WIDTH
        self.cells[at + KIND] = kind
        self.cells[at + STOP] = token

    def find(self, token: int) -> Seen | None:
        """Find where an execution runs."""
        return next((seen for seen in self.seen() if seen.token == token), None)

    def seen(self) -> list[Seen]:
        """List the occupied slots."""
        found = []
        cells = self.cells
        for index in range(self.count):
            at = index * WIDTH
            token = cells[at + TOKEN]
            if token:
                found.append(
                    Seen(
                        index,
                        token,
                        cells[at + DEADLINE],
                        cells[at + SOFT_DEADLINE],
                        cells[at + PID],
                        cells[at + THREAD],
                        bool(cells[at + FLAGS] & IS_ASYNC),
                        cells[at + SERVICE],
                        cells[at + VERSION],
                    )
                )
        return found
