"""Commands that begin with their imports done: one process has them, and forks for each.

Of a short command's time nearly all goes into imports. What runs is a process of its own all the same, with its own
arguments, environment, folder and pipes, and it ends as an interpreter ends. A process between that and the first one
tells its pid, waits for it and tells how it ended.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

PROGRAM = "executions.cli"

#: Bytes of an order: arguments and environment.
_LONGEST = 1 << 20


class Commands:
    """Gives orders to that process."""

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        self._folder = folder
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.acceptance.commands", str(theirs.fileno())],
                # Pipes, as an interpreter sees when it begins what it is to write to.
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()], env=dict(environ), cwd=folder,
            )  # fmt: skip

    def run(
        self, arguments: Sequence[str], stdin: str, environ: Mapping[str, str], patience_s: float
    ) -> tuple[int, str, str]:
        """Run one to its end; give its exit code and what it printed."""
        (read, given), (out, printed), (err, complained), (end, told) = (os.pipe() for _ in range(4))
        order = json.dumps({"arguments": arguments, "environ": dict(environ)}).encode()
        socket.send_fds(self._orders, [order], theirs := [read, printed, complained, told])
        for one in theirs:
            os.close(one)
        # Not all read what they are given.
        with suppress(BrokenPipeError), open(given, "w") as typed:
            typed.write(stdin)
        with open(out) as one, open(err) as other, open(end) as ended, ThreadPoolExecutor(2) as readers:
            pid = int(ended.readline())
            guard = threading.Timer(patience_s, os.kill, (pid, signal.SIGKILL))
            guard.start()
            texts = list(readers.map(lambda stream: stream.read(), (one, other)))
            code = int(ended.readline())
            guard.cancel()
        return code, *texts

    def close(self) -> None:
        """End the process."""
        self._orders.close()
        said = self._process.communicate(timeout=20)
        assert (self._process.returncode, *said) == (0, b"", b"")


def serve(orders: socket.socket) -> None:
    """Fork for each order. Comes back in a process that is to be a command, and nowhere else."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those in between
    while True:
        order, given, _, _ = socket.recv_fds(orders, _LONGEST, 4)
        if not order:
            sys.exit()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            orders.close()
            *streams, told = given
            _fork_and_tell(streams, told)
            return _become(json.loads(order), streams)
        for one in given:
            os.close(one)


def _fork_and_tell(streams: Sequence[int], told: int) -> None:
    """Fork once more; come back in the child only."""
    command = os.fork()
    if not command:
        os.close(told)
        return
    for one in streams:
        os.close(one)
    os.write(told, f"{command}\n".encode())
    _, status = os.waitpid(command, 0)
    os.write(told, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _become(order: dict[str, dict[str, str]], streams: Sequence[int]) -> None:
    for number, one in enumerate(streams):
        os.dup2(one, number)
        os.close(one)
    environ = os.environ  # noqa: TID251
    environ.clear()
    environ.update(order["environ"])
    sys.argv[1:] = order["arguments"]


def main() -> None:
    """Import what a command may need, then serve."""
    found = importlib.import_module(PROGRAM)
    for part in pkgutil.iter_modules(found.__path__, f"{PROGRAM}."):
        if not part.name.endswith("__main__"):
            importlib.import_module(part.name)
    assert threading.active_count() == 1
    serve(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_module(PROGRAM, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
