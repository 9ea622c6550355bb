"""What a run stands on: one server for everything, a RabbitMQ beside it, or a cluster of three beside a broker."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tests.chaos.proxy import HOST
from tests.rabbitmq import RabbitMQ, find_program
from tests.servers import Cluster
from workers.local.server import EmbeddedServer, find_binary, free_port
from workers.local.waiting import wait_until


class Halts(Protocol):
    """A server that a storm may end and start again; what it had acknowledged is there afterwards."""

    def halt(self, *, hard: bool) -> None: ...

    def start(self) -> object: ...


class Server(EmbeddedServer):
    """A Redis or Valkey, with a log on disk that is synced at each write: what it has acknowledged it never loses.

    A run is about our own promises. With `everysec` a crash of the machine may lose the last second, and no
    program on top of it could tell.
    """

    def __init__(self, folder: Path, binary: Path, extra: str = "") -> None:
        super().__init__(
            folder, free_port(), binary=binary, dies_with_parent=True, extra=f"appendfsync always\n{extra}"
        )

    def halt(self, *, hard: bool) -> None:
        identity = self.identity
        if hard and identity is not None:
            identity.signal(signal.SIGKILL)
            wait_until(lambda: not identity.is_alive, 10)
        self.stop()


class Broker(RabbitMQ):
    """A RabbitMQ. Asked to or not, it ends as in a crash."""

    def halt(self, *, hard: bool) -> None:
        self.kill()


def program(name: str) -> Path:
    """Find the server that a run is on."""
    found = find_binary() if name == "valkey" else shutil.which("redis-server")
    if found is None:
        raise SystemExit("redis-server is not on the PATH")
    return Path(found)


class Backend:
    """One Redis or Valkey for registry and messages."""

    def __init__(self, folder: Path, name: str = "valkey") -> None:
        self._folder, self._program = folder, program(name)
        self._main = Server(folder / "server", self._program).start()
        #: What a storm may end.
        self.servers: list[Halts] = [self._main]
        #: Ports that each worker reaches through a proxy of its own.
        self.ports = [self._main.port]

    def urls(self, ports: list[int]) -> dict[str, str]:
        """Give the addresses of broker and registry, by the ports that stand for `self.ports`."""
        url = f"redis://{HOST}:{ports[0]}/0"
        return {"CHAOS_BROKER": url, "CHAOS_REGISTRY": url}

    def stop(self) -> None:
        self._main.stop()


class Rabbit(Backend):
    """RabbitMQ for the messages, in classic queues: a single node of old may forget who leads a quorum queue."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        found = find_program()
        if found is None:
            raise SystemExit("rabbitmq-server is not installed")
        (folder / "rabbitmq").mkdir()
        self._broker = Broker(found, folder / "rabbitmq")
        self._broker.start()
        self.servers.append(self._broker)
        self.ports.append(self._broker.port)

    def urls(self, ports: list[int]) -> dict[str, str]:
        return {**super().urls(ports), "CHAOS_BROKER": f"amqp://guest:guest@{HOST}:{ports[1]}//"}

    def stop(self) -> None:
        self._broker.stop()
        super().stop()


class Clustered(Backend):
    """The registry on three nodes, whose addresses are their own: only the broker is reached through a proxy."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._nodes: list[Server] = []
        self._url = Cluster(self._add).url
        self.servers += self._nodes

    def _add(self, extra: str) -> Server:
        folder = self._folder / f"node{len(self._nodes)}"
        self._nodes.append(Server(folder, self._program, extra))
        self._nodes[-1].start()
        return self._nodes[-1]

    def urls(self, ports: list[int]) -> dict[str, str]:
        return {**super().urls(ports), "CHAOS_REGISTRY": self._url}

    def stop(self) -> None:
        for node in self._nodes:
            node.stop()
        super().stop()


#: By the names that `--backend` knows, with the number of shards that a run has unless it is told.
BACKENDS: dict[str, tuple[Callable[[Path], Backend], int]] = {
    "valkey": (Backend, 4),
    "redis": (lambda folder: Backend(folder, "redis"), 4),
    "rabbitmq": (Rabbit, 4),
    "cluster": (Clustered, 16),
}
