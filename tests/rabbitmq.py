"""A RabbitMQ of the tests' own: loopback only, free ports, its data in one folder, gone with the test run."""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path

from workers.local import processes
from workers.local.processes import Child
from workers.local.server import HOST, free_port
from workers.local.waiting import wait_until

#: Debian's command on the PATH insists on being root; this is what it calls.
PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")

#: Seconds until it speaks its protocol. Five are usual.
READY_S = 90.0

_GREETS = (
    "import socket,sys;c=socket.create_connection(('127.0.0.1',int(sys.argv[1])),3);c.settimeout(3);"
    "c.sendall(b'AMQP\\0\\0\\x09\\x01');assert c.recv(1)"
)

#: No listener but the loopback's, and room on a small disk.
_SETTINGS = "listeners.tcp.1 = {host}:{port}\nlog.console = false\ndisk_free_limit.absolute = 50MB\n"


def find_program() -> Path | None:
    """Find RabbitMQ and what its nodes find each other by, or nothing."""
    found = PROGRAM if PROGRAM.exists() else shutil.which("rabbitmq-server")
    return Path(found) if found and shutil.which("epmd") else None


class RabbitMQ:
    """One broker, which may be killed and started again with what it had written."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.program, self._folder = program, folder
        self.port, self._node_port, self._names_port = free_port(), free_port(), free_port()
        self._settings = folder / "rabbitmq.conf"
        self._settings.write_text(_SETTINGS.format(host=HOST, port=self.port))
        # Left to itself, a broker starts one for the whole machine that outlives it.
        names = ["epmd", "-address", HOST, "-port", str(self._names_port)]
        self._names = self._run(names)
        self._broker: Child | None = None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@{HOST}:{self.port}//"

    def start(self) -> RabbitMQ:
        self._broker = self._run([str(self.program)])
        assert wait_until(self._greets, READY_S), f"RabbitMQ did not start, see {self._folder / 'output'}"
        return self

    def kill(self) -> None:
        """End it as a crash does."""
        assert self._broker is not None
        self._broker.identity.signal(signal.SIGKILL)
        self._broker.popen.wait()

    def stop(self) -> None:
        if self._broker is not None:
            self.kill()
        self._names.identity.signal(signal.SIGKILL)
        self._names.popen.wait()
        processes.stop(processes.marked(f"{self._folder}:"), 5)

    def _greets(self) -> bool:
        assert self._broker is None or self._broker.exit_code is None, (self._folder / "output").read_text()
        return processes.run([sys.executable, "-c", _GREETS, str(self.port)], {}, 20).returncode == 0

    def _run(self, command: list[str]) -> Child:
        folder = str(self._folder)
        environ = {
            "HOME": folder,
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": str(self._names_port),
            "RABBITMQ_NODENAME": f"n{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_MNESIA_BASE": f"{folder}/data",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/none",
            "RABBITMQ_CONFIG_FILE": str(self._settings),
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1",
            # The machine's own process, not a shell that waits for it and outlives us or is outlived.
            "RUNNING_UNDER_SYSTEMD": "1",
        }
        return processes.start(
            command, log=self._folder / "output", mark=f"{folder}:", env=environ, cwd=self._folder,
            dies_with_parent=True,
        )  # fmt: skip
