"""`executions watch` on a terminal: a list that stays right while the terminal, or the registry, does not."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from executions import connect
from tests.acceptance.fleet import ROOT, eventually
from tests.conftest import StartServer
from workers.local.server import EmbeddedServer, free_port

LEAVES = "\x1b[?1049l"
SHOWS_CURSOR = "\x1b[?25h"


class Watch:
    """A watch on a terminal of its own."""

    def __init__(self, url: str, *options: str) -> None:
        self.terminal, self._theirs = pty.openpty()
        self.resize(20, 100)
        self.before = termios.tcgetattr(self.terminal)
        # Where these are set, they are stronger than what the terminal says.
        ours = {name: value for name, value in os.environ.items() if name not in ("LINES", "COLUMNS")}  # noqa: TID251
        environ = {**ours, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "EXECUTIONS_PATIENCE_S": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "executions.cli", "--url", url, "watch", *options],
            stdin=self._theirs, stdout=self._theirs, stderr=self._theirs, env=environ, start_new_session=True,
        )  # fmt: skip
        self.seen = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while piece := os.read(self.terminal, 65536):
                self.seen += piece.decode()
        except OSError:  # nobody has the other side open any more
            pass

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    @property
    def screen(self) -> list[str]:
        """The last picture, line by line."""
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.seen.rpartition("\x1b[H")[2]).split("\r\n")

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        code = self.process.wait(timeout=20)
        after = termios.tcgetattr(self.terminal)
        os.close(self._theirs)
        self._reader.join()
        os.close(self.terminal)
        assert after == self.before
        return code


@contextmanager
def watching(url: str, *options: str) -> Iterator[Watch]:
    watch = Watch(url, *options)
    try:
        yield watch
    finally:
        if watch.process.poll() is None:
            watch.process.kill()
            watch.process.wait()


@pytest.fixture(scope="module")
def registry(start_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> EmbeddedServer:
    return start_server(tmp_path_factory.mktemp("watched"), free_port())  # the same one when it comes back


def test_the_list_fits_whatever_the_size_of_the_terminal_becomes_and_ctrl_c_leaves_it_sane(
    registry: EmbeddedServer,
) -> None:
    with connect(registry.url) as client:
        made = [client.submit("shop.add", n, queue="nobody").id for n in range(30)][::-1]
    with watching(registry.url, "--limit", "50") as watch:
        eventually(lambda: made[0] in watch.seen and "Ctrl-C ends this" in str(watch.screen), "the list")
        assert len(watch.screen) == 20
        assert [row.split()[0] for row in watch.screen[1:19]] == made[:18]
        watch.resize(8, 60)
        watch.process.send_signal(signal.SIGWINCH)
        eventually(lambda: len(watch.screen) == 8 and "Ctrl-C" in str(watch.screen), "the smaller list")
        assert [row.split()[0] for row in watch.screen[1:7]] == made[:6]
        assert all(len(row) <= 60 for row in watch.screen)
        assert watch.end(signal.SIGINT) == 130
    # What was there last stays, below the screen that is gone, and the cursor is back
    assert watch.seen.index(LEAVES) < watch.seen.rindex(made[0])
    assert watch.seen.count("\x1b[?1049h") == watch.seen.count(LEAVES) == 1
    assert watch.seen.rindex(SHOWS_CURSOR) > watch.seen.rindex("\x1b[?25l")


def test_a_registry_that_goes_away_is_waited_for_and_a_kill_leaves_the_terminal_sane(registry: EmbeddedServer) -> None:
    with watching(registry.url) as watch:
        eventually(lambda: "Ctrl-C ends this" in str(watch.screen), "the list")
        registry.stop()
        eventually(lambda: "the registry is away" in watch.seen, "that it is away")
        assert watch.process.poll() is None
        registry.start()
        with connect(registry.url) as client:
            made = client.submit("shop.add", 1, queue="nobody").id
        eventually(lambda: made in watch.seen and "Ctrl-C ends this" in str(watch.screen), "what came when it was back")
        assert watch.end(signal.SIGTERM) == 128 + signal.SIGTERM
    assert watch.seen.rstrip().endswith((LEAVES, SHOWS_CURSOR))
