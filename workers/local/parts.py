"""The parts of a local stack: what each is started with, and how it is seen to be ready."""

from __future__ import annotations

import http.client
import importlib.util
import json
import secrets
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.local.processes import ProcessId, run
from workers.local.server import HOST, free_port, is_free

#: The fleet's own app.
DEFAULT_APP = "workers.app"

USUAL_FLOWER_PORT = 5555
USUAL_PAGE_PORT = 5560
FLOWER_USER = "executions"

#: Seconds that the question may take, Celery's own start included.
ASK_WITHIN_S = 20.0

#: Seconds after which a worker that has not said so in its log is asked whether it is ready.
ASK_AFTER_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the caller of `up` wants to run."""

    #: A server to use in place of the embedded one.
    url: str | None = None
    #: Where the messages go, if not through the registry's server.
    broker: str = ""
    app: str = DEFAULT_APP
    workers: int = 2
    concurrency: int = 2
    pool: str = "prefork"
    flower: bool = True
    page: bool = True


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One part as it should run. Two that are equal need no restart."""

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    port: int | None = None


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part as it was started."""

    spec: Spec
    process: ProcessId
    log: Path
    #: How long the log was when the part was started: what is above are an earlier run's lines.
    log_start: int = 0
    #: Whether it was seen to be ready once, so that nobody has to look again.
    was_ready: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Give the form that is kept in the stack's file."""
        spec = self.spec
        return {
            "name": spec.name,
            "command": list(spec.command),
            "env": dict(spec.env),
            "port": spec.port,
            "process": self.process.as_dict(),
            "log": str(self.log),
            "log_start": self.log_start,
            "was_ready": self.was_ready,
        }

    @classmethod
    def parse(cls, value: Any) -> Part | None:
        """Read what `as_dict` wrote, or nothing from anything else."""
        try:
            process = ProcessId.parse(value["process"])
            spec = Spec(
                name=str(value["name"]),
                command=tuple(value["command"]),
                env=dict(value["env"]),
                port=value["port"],
            )
            log, log_start, was_ready = Path(value["log"]), int(value["log_start"]), bool(value["was_ready"])
        except (KeyError, TypeError, ValueError):
            return None
        if process is None:
            return None
        return cls(spec=spec, process=process, log=log, log_start=log_start, was_ready=was_ready)

    @property
    def is_alive(self) -> bool:
        """Whether the part's process runs."""
        return self.process.is_alive

    @property
    def is_ready(self) -> bool:
        """Whether the part does its work already."""
        if self.was_ready:
            return True
        return answers_http(self.spec.port) if self.spec.port else self._says_ready()

    @property
    def last_words(self) -> str:
        """The last line that it wrote."""
        spoken = [line for line in self._said() if line]
        return spoken[-1] if spoken else "it said nothing"

    def _says_ready(self) -> bool:
        # Celery's last line at start. Nothing sooner will do: before it the worker does not consume.
        return any(line.endswith(" ready.") for line in self._said())

    def _said(self) -> list[str]:
        try:
            with self.log.open("rb") as log:
                log.seek(self.log_start)
                return [line.strip() for line in log.read().decode(errors="replace").split("\n")]
        except OSError:
            return []


def worker_spec(wish: Wish, number: int, env: Mapping[str, str]) -> Spec:
    """Say how a worker is started."""
    options = ("-E", "-n", f"worker{number}@%h", "--loglevel", "INFO", "--pool", wish.pool)
    return Spec(
        name=f"worker{number}",
        command=(*_celery(wish), "worker", *options, "--concurrency", str(wish.concurrency)),
        env=env,
    )


def flower_spec(wish: Wish, env: Mapping[str, str], before: Part | None) -> Spec:
    """Say how Flower is started: on its last port while it runs, else on the usual one or a free one.

    It gets a password, though only this machine can reach it: Flower without one has its buttons switched
    off, and if they are switched on all the same, any page in the user's browser may press them.
    """
    port = _port(before, USUAL_FLOWER_PORT)
    command = (*_celery(wish), "flower", f"--address={HOST}", f"--port={port}")
    before_env = before.spec.env if before else {}
    login = before_env.get("FLOWER_BASIC_AUTH") or f"{FLOWER_USER}:{secrets.token_urlsafe(9)}"
    return Spec(name="flower", command=command, env={**env, "FLOWER_BASIC_AUTH": login}, port=port)


def page_spec(wish: Wish, env: Mapping[str, str], before: Part | None) -> Spec:
    """Say how the page and the API are started: on their last port while they run, else the usual or a free one."""
    port = _port(before, USUAL_PAGE_PORT)
    command = (*_celery(wish), "executions", "serve", "--host", HOST, "--port", str(port))
    return Spec(name="page", command=command, env=env, port=port)


def _port(before: Part | None, usual: int) -> int:
    if before and before.process.is_alive and before.spec.port:
        return before.spec.port
    return usual if is_free(usual) else free_port()


def is_installed(module: str) -> bool:
    """Tell whether a module of an extra is there."""
    return importlib.util.find_spec(module) is not None


def _celery(wish: Wish) -> tuple[str, ...]:
    return (sys.executable, "-m", "celery", "-A", wish.app)


def answers_http(port: int) -> bool:
    """Tell whether a web server answers on a loopback port, whatever it says."""
    connection = http.client.HTTPConnection(HOST, port, timeout=2.0)
    try:
        connection.request("GET", "/healthcheck")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def answering_workers(wish: Wish, env: Mapping[str, str]) -> set[str]:
    """Ask over the broker which workers consume: the way for an app whose logging hides Celery's lines."""
    command = [*_celery(wish), "inspect", "ping", "--json", "--timeout", "2"]
    try:
        asked = run(command, env, ASK_WITHIN_S)
        replies = json.loads(asked.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return set()
    return {str(node).partition("@")[0] for node in replies}
