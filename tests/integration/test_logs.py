"""Lines in the registry: stored in order, read in pages, followed by many, closed with their attempt."""

from __future__ import annotations

import gc
import logging
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import executions
from executions import capture
from executions.capture import LogWriter
from executions.errors import InvalidInput, NotFound, Unavailable
from executions.ids import new_id
from executions.logs import Line, LogView
from executions.registry.logs import Logs
from executions.registry.space import Space
from executions.registry.transitions import Ending, Started, Submission, Transitions
from executions.settings import Settings
from executions.states import Reason, Status

#: Seconds that a reader may take, in all.
PATIENCE_S = 20.0


class Run:
    """One execution, from outside of any worker."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.space = Space(settings)
        self.logs = Logs(self.space)
        self.transitions = Transitions(self.space)
        self.id = new_id()
        self.transitions.submit(Submission(id=self.id, function="tests.f", inputs="[[],{}]"))

    def start(self) -> LogWriter:
        started = self.transitions.start(self.id, None, worker="w1", pid=1, pool="solo")
        assert isinstance(started, Started)
        return LogWriter(self.id, started.attempt, self.logs, self.settings)

    def finish(self, attempt: int = 1) -> None:
        self.transitions.finish(self.id, attempt, Ending(status=Status.SUCCESS))

    def store(self, *numbers: int, attempt: int = 1) -> None:
        self.logs.append(
            self.id, attempt, [[Line(n * 1_000_000, logging.INFO, "stdout", n, f"line {n}") for n in numbers]]
        )

    def key(self, attempt: int = 1) -> str:
        return self.space.keys(self.id).log(self.id, attempt)

    def view(self, **options: Any) -> LogView:
        return LogView(self.logs, self.id, **options)


@pytest.fixture(params=[1, 16], ids=["1 shard", "16 shards"])
def run(server_url: str, namespace: str, request: pytest.FixtureRequest) -> Run:
    """An execution that is pending."""
    return Run(Settings(url=server_url, namespace=namespace, shards=request.param, log_flush_s=0.05))


class Reader(threading.Thread):
    """Follows in a thread of its own."""

    def __init__(self, lines: Iterator[dict[str, Any]]) -> None:
        super().__init__(daemon=True)
        self._lines = lines
        self.came: queue.Queue[str] = queue.Queue()
        self.all: list[str] = []
        self.start()

    def run(self) -> None:
        for record in self._lines:
            self.all.append(record["message"])
            self.came.put(record["message"])

    def next(self) -> str:
        return self.came.get(timeout=PATIENCE_S)

    def ended(self) -> list[str]:
        self.join(PATIENCE_S)
        assert not self.is_alive()
        return self.all


def test_storing_lines_leaves_nothing_in_memory(run: Run) -> None:
    def iterators() -> int:
        gc.collect()
        return sum(type(one) is type(iter(())) for one in gc.get_objects())

    lines = tuple(Line(1_000_000, logging.INFO, "stdout", n, "text") for n in (1, 2))
    before = iterators()
    for _ in range(50):
        run.logs.append(run.id, 1, [lines])
    assert iterators() < before + 50


@pytest.mark.feature("D44")
@pytest.mark.feature("D47")
def test_what_a_function_writes_is_read_back(run: Run) -> None:
    capture.install()
    with capture.attempt(run.start()):
        print("hello")
        logging.getLogger("tests").error("trouble")
        print("nul \x00 \udcff \x1b[31mred\x1b[0m caf\u00e9".replace("\udcff", "\\udcff"))
        print("10%\r50%\r100%")
        print("x" * (1 << 20))
    capture.uninstall()
    run.finish()
    view = run.view()
    assert [record["message"] for record in view[:4]] == [
        "hello",
        "trouble",
        "nul \x00 \\udcff \x1b[31mred\x1b[0m café",
        "100%",
    ]
    assert view[4]["message"].endswith("x ... 1,032,192 more characters")
    assert [(record["level"], record["stream"], record["attempt"], record["line"]) for record in view[:2]] == [
        ("INFO", "stdout", 1, 1),
        ("ERROR", "logging", 1, 2),
    ]
    assert timedelta(0) <= view[1]["timestamp"] - view[0]["timestamp"] < timedelta(seconds=60)


@pytest.mark.feature("D46")
def test_a_level_leaves_out_what_is_below_it(run: Run) -> None:
    writer = run.start()
    for number, level in enumerate((logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)):
        writer.write(level, "logging", f"line {number}")
    writer.close()
    run.finish()
    assert str(run.view(level="ERROR")) == "line 3\nline 4"
    assert str(run.view(level="error", follow=True)) == "line 3\nline 4"
    assert len(run.view(level="DEBUG")) == 5
    with pytest.raises(InvalidInput, match="use one of"):
        run.view(level="TRACE")


def test_pages_join_without_gap_or_repeat(run: Run) -> None:
    run.start()
    for first in range(1, 1001, 25):
        run.store(*range(first, first + 25))
    for limit in (1, 10, 24, 25, 26, 999, 1000, 5000):
        lines: list[int] = []
        after, more = 0, True
        while more and len(lines) < 200:
            page = run.logs.read(run.id, 1, after_line=after, limit=limit)
            assert len(page.records) <= limit
            lines += [record["line"] for record in page.records]
            after, more = page.next_line, page.more
        assert lines == list(range(1, len(lines) + 1))
    assert not page.ended
    run.finish()
    assert run.logs.read(run.id, 1, after_line=990).ended


@pytest.mark.feature("D45")
def test_two_readers_get_the_first_line_before_the_end(run: Run) -> None:
    writer = run.start()
    readers = [Reader(iter(run.view(follow=True))) for _ in range(2)]
    writer.write(logging.INFO, "stdout", "first")
    assert [reader.next() for reader in readers] == ["first", "first"]
    # If more is written while they wait
    for number in range(500):
        writer.write(logging.INFO, "stdout", f"line {number}")
    writer.close()
    run.finish()
    # I expect both to have everything, and to end by themselves.
    expected = ["first", *(f"line {number}" for number in range(500))]
    assert [reader.ended() for reader in readers] == [expected, expected]
    # One that comes later sees the same.
    assert Reader(run.logs.follow(run.id)).ended() == expected
    assert Reader(run.logs.follow(run.id, after_line=499)).ended() == ["line 498", "line 499"]


def test_following_what_writes_nothing_ends_with_it(run: Run) -> None:
    reader = Reader(run.logs.follow(run.id))
    run.start()
    run.finish()
    assert reader.ended() == []
    assert Reader(run.logs.follow(run.id)).ended() == []
    assert len(run.view()) == 0


def test_following_goes_on_with_the_next_attempt(run: Run) -> None:
    reader = Reader(run.logs.follow(run.id))
    only_first = Reader(run.logs.follow(run.id, attempt=1))
    run.start()
    run.store(1)
    assert reader.next() == "line 1"
    run.transitions.retry(run.id, 1, reason=Reason.RETRYING)
    assert only_first.ended() == ["line 1"]
    # The second attempt writes nothing and its worker dies; the third one ends.
    run.start()
    run.transitions.retry(run.id, 2, reason=Reason.RERUN)
    run.start()
    run.store(1, 2, attempt=3)
    run.finish(3)
    assert reader.ended() == ["line 1", "line 1", "line 2"]
    assert [(record["attempt"], record["line"]) for record in run.view()] == [(1, 1), (3, 1), (3, 2)]
    assert str(run.view(attempt=3)) == "line 1\nline 2"
    with pytest.raises(NotFound, match="no attempt 4; it has had 3"):
        str(run.view(attempt=4))


def test_following_stops_when_the_reader_does(run: Run) -> None:
    run.start()
    run.store(1, 2)
    lines = run.logs.follow(run.id)
    assert next(lines)["line"] == 1
    lines.close()  # type: ignore[attr-defined]


def test_an_unknown_execution_is_said(run: Run) -> None:
    with pytest.raises(NotFound):
        str(LogView(run.logs, new_id()))
    with pytest.raises(NotFound):
        next(run.logs.follow(new_id()))


def test_the_servers_absence_is_said_in_our_words(namespace: str) -> None:
    logs = Logs(Space(Settings(url="redis://127.0.0.1:1/0", namespace=namespace)))
    with pytest.raises(Unavailable):
        logs.attempts(new_id())


def test_the_cut_is_said_where_it_is(run: Run) -> None:
    settings = Settings(url=run.settings.url, namespace=run.settings.namespace, log_max_lines=1000, log_flush_s=0.05)
    run.logs = Logs(Space(settings))
    run.settings = settings
    writer = run.start()
    for number in range(1, 20_001):
        writer.feed("stdout", f"line {number}\n")
        if number % 3000 == 0:
            writer.flush()
    writer.close()
    run.finish()
    records = list(run.view())
    said = [record for record in records if record["stream"] == "executions"]
    kept = len(records) - 1
    assert 900 <= kept <= 1000
    assert [record["level"] for record in said] == ["WARNING"]
    assert said[0]["message"] == (
        f"... {20_000 - kept:,} lines not kept: the limit is 1,000 lines or 4 MiB of an attempt"
    )
    assert records[0]["message"] == "line 1"
    assert records[199]["message"] == "line 200"
    assert records[200] == said[0]
    assert records[-1]["message"] == "line 20000"
    # A page that begins within the gap says what of it is missing behind its beginning.
    page = run.logs.read(run.id, 1, after_line=said[0]["line"] - 1, limit=1)
    assert page.records[0]["message"].startswith("... 1 line not kept")
    assert run.logs.read(run.id, 1, after_line=page.next_line, limit=1).records[0]["stream"] == "stdout"


def test_no_key_is_without_a_life(run: Run) -> None:
    run.start()
    run.store(1)
    assert run.space.client.ttl(run.key()) > run.settings.retention_s
    run.transitions.retry(run.id, 1)
    assert run.space.client.ttl(run.key()) > run.settings.retention_s
    run.start()
    run.store(1, attempt=2)
    run.finish(2)
    assert run.space.client.ttl(run.key(2)) > run.settings.retention_s


def test_a_batch_that_is_sent_twice_is_there_once(run: Run) -> None:
    run.start()
    run.store(1, 2)
    run.store(1, 2)
    # Neither is one that was cut otherwise the second time.
    run.store(1, 2, 3)
    assert str(run.view()) == "line 1\nline 2\nline 3"


def test_what_an_attempt_writes_after_its_end_is_refused(run: Run) -> None:
    run.start()
    run.store(1)
    run.transitions.retry(run.id, 1, reason=Reason.RERUN)
    run.store(2)
    assert str(run.view()) == "line 1"


WORKER = """
import sys, threading, time
from executions import capture
from executions.registry.logs import Logs
from executions.registry.space import Space
from executions.settings import Settings

url, namespace, execution_id = sys.argv[1:]
settings = Settings(url=url, namespace=namespace)
capture.install()
capture.begin(capture.LogWriter(execution_id, 1, Logs(Space(settings)), settings))
pause = threading.Event()
for number in range(100_000):
    print(f"{number} {time.time()}", flush=True)
    pause.wait(0.001)
"""


def test_a_killed_process_loses_at_most_one_interval(run: Run) -> None:
    run.start()
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, run.settings.url, run.settings.namespace, run.id],
        cwd=Path(executions.__file__).parents[1],
        stdout=subprocess.PIPE,
    )
    assert worker.stdout is not None
    printed: list[str] = []
    while len(printed) < 1000:
        printed.append(worker.stdout.readline().decode().strip())
    worker.send_signal(signal.SIGKILL)
    printed += worker.stdout.read().decode().split("\n")[:-1]
    worker.stdout.close()
    worker.wait(PATIENCE_S)
    stored = str(run.view()).splitlines()
    assert stored == printed[: len(stored)]
    died_at = float(printed[-1].split()[1])
    # One interval of 0.2 s, and twice as much for a flush under way on a busy machine.
    assert died_at - float(stored[-1].split()[1]) < 0.6
