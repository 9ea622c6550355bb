"""A fleet of real workers, each behind proxies of its own. All of it dies with the run."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

from executions import Client
from tests.chaos.backends import Backend
from tests.chaos.proxy import Proxy
from workers.local import processes
from workers.local.processes import Child, ProcessId
from workers.local.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent
POOLS = ("prefork", "threads", "solo", "gevent")

#: A fleet with little patience, so that a run of a few minutes sees many leases end.
SETTINGS = {
    "EXECUTIONS_BEAT_S": "0.5", "EXECUTIONS_LEASE_S": "3", "EXECUTIONS_SOFT_AFTER_S": "1", "EXECUTIONS_GRACE_S": "3",
    "EXECUTIONS_STALLED_EXIT_S": "10",
}  # fmt: skip
LEASE_S = 3.0

READY_S = 60.0
DRAIN_S = 30.0


@dataclass
class Member:
    """One worker."""

    name: str
    pool: str
    #: To each server that it reaches.
    proxies: list[Proxy]
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

    @property
    def clock(self) -> Path:
        """The file that says how far its clock is ahead."""
        return self.log.with_suffix(".clock")

    def heal(self) -> None:
        """End what disturbs its connections and its clock."""
        for proxy in self.proxies:
            proxy.heal()
        self.clock.unlink(missing_ok=True)


@dataclass
class Fleet:
    """The workers."""

    folder: Path
    backend: Backend
    shards: int
    extra: dict[str, str] = field(default_factory=dict)
    members: list[Member] = field(default_factory=list)

    def grow(self, pools: list[str]) -> None:
        for at, pool in enumerate(pools, 1):
            name = f"{pool}{at}"
            proxies = [Proxy(port) for port in self.backend.ports]
            self.members.append(Member(name, pool, proxies, self.folder / f"{name}.log"))
            self.start(self.members[-1])

    def environ(self, ports: list[int]) -> dict[str, str]:
        return {
            **SETTINGS,
            **self.extra,
            **self.backend.urls(ports),
            "CHAOS_LEDGER": str(self.folder / "ledger"),
            "EXECUTIONS_SHARDS": str(self.shards),
            "EXECUTIONS_PAYLOADS": str(self.folder / "payloads"),
            "PYTHONPATH": str(ROOT),
        }

    def queues(self, member: Member) -> list[str]:
        return ["chaos", f"canary.{member.name}", *(["hungry"] if member.pool == "prefork" else [])]

    def concurrency(self, member: Member) -> int:
        return 1 if member.pool == "solo" else 3

    def start(self, member: Member) -> None:
        command = [
            sys.executable, "-m", "tests.moved", "-A", "tests.chaos.app", "worker", "-P", member.pool,
            "-c", str(self.concurrency(member)), "-n", member.worker, "-Q", ",".join(self.queues(member)),
            "--loglevel", "INFO",
        ]  # fmt: skip
        environ = {**self.environ([proxy.port for proxy in member.proxies]), "MOVED_BY": str(member.clock)}
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

    def ask_where(self, name: str) -> None:
        """Have a worker write to its log where each of its threads stands."""
        for member in self.members:
            if member.name == name and member.identity is not None:
                member.identity.signal(signal.SIGUSR2)

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
            member.heal()
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
            for proxy in member.proxies:
                proxy.close()
        processes.stop(processes.marked(f"{self.folder}:"), 5)
        self.backend.stop()
