"""Processes of this machine: which are below which, whether one is still there, and how all of them end."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path

from executions.clock import SYSTEM_CLOCK

#: Seconds after a kill for want of memory in which the end of a child is put down to it.
MOMENT_S = 2.0

_PROC = Path("/proc")


def descendants(pid: int) -> list[int]:
    """List every process below `pid`, nearest first."""
    below: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            parent = _parent(entry)
            if parent is not None:
                below.setdefault(parent, []).append(int(entry.name))
    found, level = [], [pid]
    while level:
        level = [child for one in level for child in below.get(one, ())]
        found += level
    return found


def _parent(entry: Path) -> int | None:
    try:
        # The name may hold anything, so count from its closing parenthesis: state, then the parent.
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


def kill_tree(pid: int) -> None:
    """Kill a process and everything below it."""
    below = descendants(pid)
    for one in (pid, *below, *descendants(pid)):
        try:
            os.kill(one, signal.SIGKILL)
        except ProcessLookupError:
            pass


class Watched:
    """Tells which of some processes have ended, without waiting and without mistaking a new one for an old."""

    def __init__(self) -> None:
        self._handles: dict[int, int] = {}

    def watch(self, pids: set[int]) -> None:
        """Watch these processes, and no others."""
        for pid in self._handles.keys() - pids:
            os.close(self._handles.pop(pid))
        for pid in pids - self._handles.keys():
            try:
                self._handles[pid] = os.pidfd_open(pid)
            except OSError:
                continue

    def ended(self) -> dict[int, int | None]:
        """Give those that have ended, each with its exit code (a signal as a negative number) where it is known."""
        if not self._handles:
            return {}
        poller = select.poll()
        by_handle = {handle: pid for pid, handle in self._handles.items()}
        for handle in by_handle:
            poller.register(handle, select.POLLIN)
        return {by_handle[handle]: _exit_code(handle) for handle, _ in poller.poll(0)}

    def close(self) -> None:
        """Let go of all of them."""
        self.watch(set())


def _exit_code(handle: int) -> int | None:
    """Read how a process ended, and leave it for its parent's own code to collect."""
    try:
        found = os.waitid(os.P_PIDFD, handle, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except OSError:
        return None  # collected already
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


class OutOfMemory:
    """Tells whether the system has killed for want of memory, in this process's control group or at all."""

    def __init__(self) -> None:
        self._count = _oom_kills()
        self._seen: float | None = None

    def happened(self) -> bool:
        """Whether it has a moment ago. Two threads learn of each end, and either may be the first to ask."""
        before, self._count = self._count, _oom_kills()
        now = SYSTEM_CLOCK.monotonic()
        if self._count > before:
            self._seen = now
        return self._seen is not None and now - self._seen < MOMENT_S


def _oom_kills() -> int:
    try:
        group = next(line[3:] for line in (_PROC / "self/cgroup").read_text().splitlines() if line.startswith("0::"))
        sources = [Path("/sys/fs/cgroup") / group.strip("/") / "memory.events", _PROC / "vmstat"]
    except (OSError, StopIteration):
        sources = [_PROC / "vmstat"]
    for source in sources:
        try:
            words = [line.split() for line in source.read_text().splitlines()]
        except OSError:
            continue
        found = [int(count) for name, count in words if name == "oom_kill"]
        if found:
            return found[0]
    return 0
