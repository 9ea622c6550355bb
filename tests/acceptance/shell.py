"""The command line as people use it: a process for each command, in a pipe or on a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.acceptance.commands import PROGRAM, Commands
from tests.acceptance.fleet import PATIENCE_S, ROOT, Fleet

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def plain(self) -> str:
        """What was printed, without colours."""
        return _COLOUR.sub("", self.out).replace("\r\n", "\n")


@dataclass
class Shell:
    """A shell in the folder of a fleet, with the fleet's registry in its environment."""

    fleet: Fleet
    environ: dict[str, str]
    commands: Commands

    def __call__(self, *arguments: str, stdin: str = "", program: str = PROGRAM, **env: str) -> Done:
        """Run a command to its end, in pipes."""
        # What else stands in the environment may decide how an interpreter begins.
        if program == PROGRAM and all(name.startswith("EXECUTIONS_") for name in env):
            return Done(*self.commands.run(arguments, stdin, {**self.environ, **env}, PATIENCE_S))
        done = subprocess.run(
            [sys.executable, "-m", program, *arguments],
            input=stdin, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
            env={**self.environ, **env}, cwd=self.fleet.folder,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command and stay with it."""
        return subprocess.Popen(
            [sys.executable, "-m", PROGRAM, *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environ, cwd=self.fleet.folder,
        )  # fmt: skip

    def on_terminal(self, *arguments: str, columns: int = 80, types: str = "", **env: str) -> Done:
        """Run a command to its end on a terminal, and type an answer as soon as it asks."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        environ = {**self.environ, "TERM": "xterm-256color", **env}
        process = subprocess.Popen(
            [sys.executable, "-m", PROGRAM, *arguments],
            stdin=theirs, stdout=theirs, stderr=theirs, env=environ, cwd=self.fleet.folder, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        seen = b""
        while piece := _read(ours):
            seen += piece
            if types and b"[y/N]: " in seen:
                os.write(ours, f"{types}\n".encode())
                types = ""
        os.close(ours)
        return Done(process.wait(timeout=PATIENCE_S), seen.decode())


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # nobody has the other side open any more
        return b""


@contextmanager
def make_shell(fleet: Fleet) -> Iterator[Shell]:
    """Make a shell for a fleet."""
    # Entry points are found by the metadata of an installation; the tests run without one as well.
    found = _metadata(fleet.folder / "metadata")
    environ = {
        **fleet.environ,
        "EXECUTIONS_URL": fleet.url,
        "PYTHONPATH": f"{fleet.environ['PYTHONPATH']}:{found}:{fleet.folder}",
    }
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TERM"):
        environ.pop(name, None)
    commands = Commands(environ, fleet.folder)
    try:
        yield Shell(fleet, environ, commands)
    finally:
        commands.close()


def _metadata(folder: Path) -> Path:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    info = folder / "executions-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: executions\nVersion: 0\n")
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in project["entry-points"].items()
        if group != "pytest11"
    ]
    (info / "entry_points.txt").write_text("\n".join(groups))
    return folder
