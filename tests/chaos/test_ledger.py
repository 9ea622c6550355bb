"""What the ledger of a chaos run gives away, and that a storm follows from its seed."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import socket
import threading
from pathlib import Path

import pytest

from executions.execution import Execution
from executions.registry.records import decode_record
from tests.chaos import ledger
from tests.chaos.__main__ import again, parse
from tests.chaos.plan import FAULTS, WORK, make_plan
from tests.chaos.proxy import HOST, Proxy


def written(path: Path, *lines: tuple[int, int, str, float]) -> dict[str, dict[int, ledger.Try]]:
    path.write_text(
        "".join(
            json.dumps({"id": "one", "attempt": attempt, "pid": pid, "what": what, "wall": wall, "mono": wall}) + "\n"
            for attempt, pid, what, wall in lines
        )
    )
    return ledger.read(path)


def recorded(*entries: str) -> list[Execution]:
    """Give an execution with this status log; times are in seconds."""
    log = []
    for entry in entries:
        state, at, rest = entry.split("|", 2)
        log.append(f"{state}|{int(at) * 1_000_000}|{rest}")
    last = log[-1].split("|")
    status, _, reason = last[0].partition("/")
    raw = {"no": "1", "st": status, "rs": reason, "at": last[2], "fn": "f", "cr": "0", "ls": str(len(log))}
    return [decode_record("one", {**raw, **{str(at): entry for at, entry in enumerate(log, 1)}})]


STARTED = ("pending/queued|1|0||", "running/started|2|1||")


def test_what_went_well_is_no_finding(tmp_path: Path) -> None:
    tries = written(tmp_path / "ledger", (1, 7, "begin", 2.1), (1, 7, "tick", 2.5), (1, 7, "end", 2.9))
    verdict = ledger.judge(tries, recorded(*STARTED, "success/|3|1||"))
    assert (verdict.broken, verdict.overlaps, verdict.lines) == ([], [], 3)


def test_an_attempt_that_two_have_begun_is_noticed(tmp_path: Path) -> None:
    tries = written(tmp_path / "ledger", (1, 7, "begin", 2.1), (1, 8, "begin", 2.2))
    (said,) = ledger.judge(tries, recorded(*STARTED, "success/|3|1||")).broken
    assert "begun by [7, 8]" in said


def test_what_is_done_after_a_confirmed_stop_is_noticed(tmp_path: Path) -> None:
    tries = written(tmp_path / "ledger", (1, 7, "begin", 2.1), (1, 7, "tick", 3.5))
    (said,) = ledger.judge(tries, recorded(*STARTED, "terminated/requested|3|1||")).broken
    assert "0.50 s after it was terminated" in said


def test_what_a_lost_worker_does_after_others_recorded_its_stop_is_told_apart(tmp_path: Path) -> None:
    tries = written(tmp_path / "ledger", (1, 7, "begin", 2.1), (1, 7, "tick", 3.5))
    verdict = ledger.judge(tries, recorded(*STARTED, "terminated/requested|3|1||worker a was lost"))
    assert (len(verdict.overlaps), verdict.broken) == (1, [])


@pytest.mark.parametrize(("message", "is_allowed"), [("worker a was lost", True), ("ValueError", False)])
def test_attempts_side_by_side_are_allowed_only_where_a_term_was_over(
    message: str, is_allowed: bool, tmp_path: Path
) -> None:
    tries = written(tmp_path / "ledger", (1, 7, "begin", 2.1), (2, 8, "begin", 5.0), (1, 7, "tick", 5.5))
    log = (*STARTED, f"pending/rerun|4|1||{message}", "running/started|5|2||", "success/|6|2||")
    verdict = ledger.judge(tries, recorded(*log))
    assert (len(verdict.overlaps), len(verdict.broken)) == ((1, 0) if is_allowed else (0, 1))


def test_what_ran_without_a_record_is_noticed(tmp_path: Path) -> None:
    tries = written(tmp_path / "ledger", (1, 7, "begin", 2.1))
    assert ledger.judge(tries, []).broken == ["one: it ran, and is not on record"]


def test_a_storm_follows_from_its_seed() -> None:
    assert make_plan(7, 60) == make_plan(7, 60)
    assert make_plan(7, 60) != make_plan(8, 60)
    assert {step.what for step in make_plan(7, 600)} == {*FAULTS, *WORK}


def test_the_line_that_brings_a_storm_back_says_all_of_it() -> None:
    given = parse(shlex.split("--seed 7 --seconds 9 --backend redis --shards 8 --pools solo --faults 2 --work 3"))
    (line,) = re.findall(r"ARGS='(.*)'", again(given))
    assert parse(shlex.split(line)) == given


@pytest.fixture
def echo() -> socket.socket:
    """A server that says back what it hears."""
    listener = socket.create_server((HOST, 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                while heard := connection.recv(64):
                    connection.sendall(heard)

    threading.Thread(target=serve, daemon=True).start()
    return listener


def test_the_proxy_cuts_in_the_middle_and_goes_silent(echo: socket.socket) -> None:
    proxy = Proxy(echo.getsockname()[1])
    with echo, socket.create_connection((HOST, proxy.port), 5) as one:
        one.sendall(b"hello")
        assert one.recv(64) == b"hello"
        # Three bytes pass on their way there, and nothing comes back whole
        proxy.cut(after_bytes=3)
        one.sendall(b"hello")
        heard = b""
        with contextlib.suppress(OSError):  # a cut shows as an end or as a reset
            while piece := one.recv(64):
                heard += piece
        assert len(heard) < 5
        with socket.create_connection((HOST, proxy.port), 5) as two:
            proxy.silence(True)
            two.sendall(b"hello")
            two.settimeout(0.2)
            with pytest.raises(TimeoutError):
                two.recv(64)
            proxy.heal()
            two.settimeout(5)
            assert two.recv(64) == b"hello"
    proxy.close()
