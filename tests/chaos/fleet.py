"""A server and a fleet of real workers, each behind a proxy of its own. All of it dies with the run."""

from __future__ import annotations

import shutil
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

from executions import Client
from tests.chaos.proxy import HOST, Proxy
from workers.local import processes
from workers.local.processes import Child, ProcessId
from workers.local.server import EmbeddedServer, find_binary, free_port
from workers.local.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent
POOLS = ("prefork", "threads", "solo", "gevent")

#: A fleet with little patience, so that a run of a few minutes sees many leases end.
SETTINGS = {
    "EXECUTIONS_BEAT_S": "0.5", "EXECUTIONS_LEASE_S": "3", "EXECUTIONS_SOFT_AFTER_S": "1", "EXECUTIONS_GRACE_S": "3",
}  # fmt: skip
LEASE_S = 3.0

READY_S = 60.0
DRAIN_S = 30.0


def server_program(backend: str) -> Path:
    """Find the server that a run is on."""
    found = find_binary() if backend == "valkey" else shutil.which("redis-server")
    if found is None:
        raise SystemExit(f"{backend}: redis-server is not on the PATH")
    return Path(found)


class Server:
    """The server, with a log on disk that is synced at each write: what it has acknowledged it never loses.

    A run is about our own promises. With `everysec` a crash of the machine may lose the last second, and no
    program on top of it could tell.
    """

    def __init__(self, folder: Path, backend: str, shards: int) -> None:
        self._server = EmbeddedServer(folder, free_port(), binary=server_program(backend), dies_with_parent=True)
        self.start()

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def port(self) -> int:
        return self._server.port

    def start(self) -> None:
        self._server.start()
        # The embedded server's own setting is `everysec`.
        processes.run([sys.executable, "-c", _ALWAYS, str(self._server.port)], {}, 20).check_returncode()

    def stop(self, *, hard: bool) -> None:
        identity = self._server.identity
        if hard and identity is not None:
            identity.signal(signal.SIGKILL)
            wait_until(lambda: not identity.is_alive, 10)
        self._server.stop()


_ALWAYS = (
    "import socket,sys;c=socket.create_connection(('127.0.0.1',int(sys.argv[1])),5);"
    "c.sendall(b'CONFIG SET appendfsync always\\r\\n');assert c.recv(9)[:3]==b'+OK'"
)


@dataclass
class Member:
    """One worker."""

    name: str
    pool: str
    proxy: Proxy
    log: Path
    child: Child | None = None
    #: Since when it is stopped by SIGSTOP, if it is.
    paused: bool = False
    #: How often it was started.
    starts: int = 0

    @property
    def identity(self) -> ProcessId | None:
        return self.child.identity if self.child is not None and self.child.exit_code is None else None

    @property
    def worker(self) -> str:
        return f"{self.name}@chaos"


@dataclass
class Fleet:
    """The workers."""

    folder: Path
    server: Server
    shards: int
    members: list[Member] = field(default_factory=list)

    def grow(self, pools: list[str]) -> None:
        for at, pool in enumerate(pools, 1):
            name = f"{pool}{at}"
            self.members.append(Member(name, pool, Proxy(self.server.port), self.folder / f"{name}.log"))
            self.start(self.members[-1])

    def environ(self, port: int) -> dict[str, str]:
        return {
            **SETTINGS,
            "CHAOS_URL": f"redis://{HOST}:{port}/0",
            "CHAOS_LEDGER": str(self.folder / "ledger"),
            "EXECUTIONS_SHARDS": str(self.shards),
            "EXECUTIONS_PAYLOADS": str(self.folder / "payloads"),
            "PYTHONPATH": str(ROOT),
        }

    def start(self, member: Member) -> None:
        queues = ["chaos", f"canary.{member.name}", *(["hungry"] if member.pool == "prefork" else [])]
        concurrency = "1" if member.pool == "solo" else "3"
        command = [
            sys.executable, "-m", "celery", "-A", "tests.chaos.app", "worker", "-P", member.pool, "-c", concurrency,
            "-n", member.worker, "-Q", ",".join(queues), "--loglevel", "INFO",
        ]  # fmt: skip
        environ = self.environ(member.proxy.port)
        mark = f"{self.folder}:"
        member.child = processes.start(
            command, log=member.log, mark=mark, env=environ, cwd=self.folder, dies_with_parent=True
        )
        member.paused, member.starts = False, member.starts + 1

    def wait_ready(self, client: Client) -> None:
        def missing() -> set[str]:
            alive = {worker.name for worker in client.workers.list() if worker.alive}
            return {member.worker for member in self.members} - alive

        if not wait_until(lambda: not missing(), READY_S):
            raise SystemExit(f"these did not start: {', '.join(sorted(missing()))}; see {self.folder}")

    def kill(self, member: Member) -> None:
        """End a worker as a crash does. Its children end by themselves."""
        if member.identity is not None:
            member.identity.signal(signal.SIGKILL)

    def children(self, member: Member) -> list[ProcessId]:
        identity = member.identity
        if identity is None:
            return []
        found = Path(f"/proc/{identity.pid}/task/{identity.pid}/children")
        pids = found.read_text().split() if found.exists() else []
        return [one for pid in pids if (one := ProcessId.of(int(pid))) is not None]

    def pause(self, member: Member, on: bool) -> None:
        """Stop a worker and its children, or let them go on."""
        for one in [*self.children(member), *([member.identity] if member.identity else [])]:
            one.signal(signal.SIGSTOP if on else signal.SIGCONT)
        member.paused = on

    def mend(self) -> list[str]:
        """Start what has ended, as a supervisor does; give the names."""
        ended = [member for member in self.members if member.identity is None]
        for member in ended:
            self.start(member)
        return [member.name for member in ended]

    def heal(self) -> None:
        """End every disturbance."""
        for member in self.members:
            member.proxy.heal()
            if member.paused:
                self.pause(member, False)
        self.mend()

    def stop(self) -> None:
        """End every worker, and what it left."""
        for member in self.members:
            if member.paused:
                self.pause(member, False)
            if member.identity is not None:
                member.identity.kill_session()
            member.proxy.close()
        processes.stop(processes.marked(f"{self.folder}:"), 5)
        self.server.stop(hard=False)
