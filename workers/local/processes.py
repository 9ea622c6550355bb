"""Processes that outlive the command that started them.

A pid alone says nothing once its process has ended: the system gives it to the next one. So a process is
known here by its pid and its start time, and nothing is ever signalled on the strength of a pid alone.

Each process also carries a mark in its environment. When the record of what was started is lost, or a
worker was killed and left children behind, the mark still tells which processes are ours.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.local.waiting import wait_until

#: The environment variable that carries the mark.
MARK = "EXECUTIONS_STACK"

#: Seconds to wait for a killed process to vanish; the kernel needs milliseconds.
KILL_S = 5.0

#: A part's log is set aside at the next start once it is larger than this, so that logs stay bounded.
LOG_LIMIT_BYTES = 8 * 1024 * 1024

_PROC = Path("/proc")
_HAS_PROC = (_PROC / "self/stat").exists()
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class ProcessId:
    """One process for all time; `started` differs between two processes that had the same pid."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """Identify a running process; a zombie has ended and counts as gone."""
        started = _start_of(pid)
        return None if started is None else cls(pid, started)

    @classmethod
    def parse(cls, value: Any) -> ProcessId | None:
        """Read what `as_dict` wrote, or nothing from anything else."""
        match value:
            case {"pid": int(pid), "started": str(started)} if pid > 1:
                return cls(pid, started)
        return None

    def as_dict(self) -> dict[str, Any]:
        """Give the form that is kept in files."""
        return {"pid": self.pid, "started": self.started}

    @property
    def is_alive(self) -> bool:
        """Whether this very process, and not a later one with its pid, is still running."""
        return _start_of(self.pid) == self.started

    def signal(self, number: signal.Signals) -> None:
        """Signal the process, unless it has ended."""
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill_session(self) -> None:
        """Kill the process and, when it leads a process group, all of the group."""
        if not self.is_alive:
            return
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(self.pid) == self.pid:
                os.killpg(self.pid, signal.SIGKILL)
            else:
                os.kill(self.pid, signal.SIGKILL)


@dataclass(frozen=True)
class Child:
    """A process that this one has just started."""

    identity: ProcessId
    popen: subprocess.Popen[bytes]

    @property
    def exit_code(self) -> int | None:
        """The exit code once it has ended."""
        return self.popen.poll()


def start(
    command: Sequence[str],
    *,
    log: Path,
    mark: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
    dies_with_parent: bool = False,
) -> Child:
    """Start a detached process: its own session, nothing to read, its output appended to a log file."""
    with log.open("ab") as output:
        popen = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=_inherited({**(env or {}), MARK: mark}),
            cwd=cwd,
            start_new_session=True,
            pass_fds=pass_fds,
            preexec_fn=_ask_for_death_signal if dies_with_parent else None,
        )
    # A child that ended at once is a zombie until we ask for its exit code, and has no start time to know.
    return Child(ProcessId.of(popen.pid) or ProcessId(popen.pid, "ended"), popen)


def run(command: Sequence[str], env: Mapping[str, str], within_s: float) -> subprocess.CompletedProcess[bytes]:
    """Run a short command to its end."""
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=_inherited(env),
        timeout=within_s,
        check=False,
    )


def _inherited(changes: Mapping[str, str]) -> dict[str, str]:
    # The environment is handed on to the child whole; nothing is read from it.
    return {**os.environ, **changes}  # noqa: TID251


def rotate(log: Path) -> None:
    """Set a log aside that has grown too large."""
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        log.replace(log.with_name(log.name + ".1"))


def stop(processes: Iterable[ProcessId], grace_s: float) -> None:
    """End processes: ask all, wait for all of them together, then kill what is left with its group."""
    asked = [process for process in processes if process.is_alive]
    for process in asked:
        process.signal(signal.SIGTERM)
    if wait_until(lambda: not any(process.is_alive for process in asked), grace_s):
        return
    for process in asked:
        process.kill_session()
    wait_until(lambda: not any(process.is_alive for process in asked), KILL_S)


def marked(mark: str) -> list[ProcessId]:
    """Find the running processes whose mark begins so, children of ours included.

    Only Linux lets us look into another process's environment; elsewhere nothing is found, and the
    record of what was started is all there is.
    """
    if not _HAS_PROC:
        return []
    wanted = f"{MARK}={mark}".encode()
    pids = {int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()} - {os.getpid()}
    ours = (pid for pid in pids if any(value.startswith(wanted) for value in _environment_of(pid)))
    return [process for process in map(ProcessId.of, ours) if process is not None]


def _environment_of(pid: int) -> list[bytes]:
    try:
        return (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _start_of(pid: int) -> str | None:
    return _start_from_proc(pid) if _HAS_PROC else _start_from_ps(pid)


def _start_from_proc(pid: int) -> str | None:
    try:
        stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The second field is the program's name in brackets and may itself hold blanks and brackets.
    fields = stat.rpartition(")")[2].split()
    state, ticks_since_boot = fields[0], fields[19]
    return None if state in "ZX" else f"{_boot_id()}:{ticks_since_boot}"


def _boot_id() -> str:
    # Ticks are counted from the start of the machine, so they mean nothing after the next one.
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _start_from_ps(pid: int) -> str | None:
    shown = subprocess.run(["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = shown.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else started.strip()


def _ask_for_death_signal() -> None:
    # Runs between fork and exec. Linux only; elsewhere the parent has to stop its child itself.
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


# Loaded at import: between fork and exec nothing may be imported or allocated that takes a lock.
_LIBC = ctypes.CDLL(None)
