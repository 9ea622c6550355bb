"""Several servers that make up one registry: a cluster of three, and a primary with a replica and Sentinels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from workers.local import processes
from workers.local.server import HOST, EmbeddedServer, free_port
from workers.local.waiting import wait_until

#: Slots of a cluster.
_SLOTS = 16384

#: Seconds that servers have to find each other.
_PATIENCE_S = 30.0

_CLUSTERED = "cluster-enabled yes\ncluster-node-timeout 2000\ncluster-port {bus}\n"

Start = Callable[..., EmbeddedServer]


class Cluster:
    """Three primaries, each with a third of the slots."""

    def __init__(self, start: Start) -> None:
        # The nodes' own port is ten thousand higher unless said otherwise, which not every free port allows.
        buses = [free_port() for _ in range(3)]
        self.nodes = [start(extra=_CLUSTERED.format(bus=bus)) for bus in buses]
        clients = [self.client(at) for at in range(3)]
        third = _SLOTS // 3
        for at, client in enumerate(clients):
            last = _SLOTS - 1 if at == 2 else (at + 1) * third - 1
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", at * third, last)
        for node, bus in list(zip(self.nodes, buses, strict=True))[1:]:
            clients[0].execute_command("CLUSTER", "MEET", HOST, node.port, bus)
        assert wait_until(lambda: all(map(_agrees, clients)), _PATIENCE_S), "the nodes did not find each other"

    def client(self, at: int) -> Any:
        """Give a client of one node."""
        return redis.Redis(host=HOST, port=self.nodes[at].port)

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"{HOST}:{node.port}" for node in self.nodes)


def _agrees(client: Any) -> bool:
    info = client.execute_command("CLUSTER INFO")
    known = client.execute_command("CLUSTER NODES")
    return info["cluster_state"] == "ok" and len(known) == 3


class Watched:
    """A primary and a replica, and three Sentinels that make the replica the primary when that one is gone."""

    NAME = "registry"

    def __init__(self, start: Start, binary: Path, folder: Path) -> None:
        self.primary = start()
        self.replica = start(extra=f"replicaof {HOST} {self.primary.port}\n")
        self.ports = [free_port() for _ in range(3)]
        self._folder = folder
        self._binary = binary
        self.sentinels = [start_sentinel(binary, folder / str(port), port, self.primary.port) for port in self.ports]
        assert wait_until(self._is_watched, _PATIENCE_S), "the Sentinels did not find each other"

    @property
    def url(self) -> str:
        return "redis+sentinel://" + ",".join(f"{HOST}:{port}" for port in self.ports) + f"/{self.NAME}/0"

    def _is_watched(self) -> bool:
        try:
            seen = [redis.Redis(host=HOST, port=port).sentinel_master(self.NAME) for port in self.ports]
        except redis.RedisError:
            return False
        return all(one["num-other-sentinels"] == 2 and one["num-slaves"] == 1 for one in seen)

    def replicas_agree(self) -> bool:
        """Wait until the replica has all that the primary has written so far."""
        client = redis.Redis(host=HOST, port=self.primary.port)
        client.set("written", "last")
        return bool(client.wait(1, round(_PATIENCE_S * 1000)))

    def stop(self) -> None:
        for sentinel in self.sentinels:
            sentinel.popen.kill()
            sentinel.popen.wait()


def start_sentinel(binary: Path, folder: Path, port: int, primary: int) -> Any:
    """Start one Sentinel that ends with the tests."""
    folder.mkdir(parents=True)
    settings = folder / "sentinel.conf"
    settings.write_text(
        f"bind {HOST}\nport {port}\nsentinel monitor {Watched.NAME} {HOST} {primary} 2\n"
        f"sentinel down-after-milliseconds {Watched.NAME} 1000\nsentinel failover-timeout {Watched.NAME} 5000\n"
    )
    return processes.start(
        [str(binary), str(settings), "--sentinel"], log=folder / "log", mark=f"{folder}:sentinel:", cwd=folder,
        dies_with_parent=True,
    )  # fmt: skip
