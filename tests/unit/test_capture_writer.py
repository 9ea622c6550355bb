"""A writer keeps the first lines and the newest, in bounded memory, and never lets the registry's trouble out."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

import pytest

from executions.capture import LogWriter
from executions.settings import Settings


def _writer(sink: Any, lines: int = 1000, size: int = 1 << 20) -> LogWriter:
    return LogWriter("x1", 1, sink, Settings(log_flush_s=3600, log_max_lines=lines, log_max_bytes=size))


def _numbers(sink: Any) -> list[int]:
    return [line.line for line in sink.lines]


@pytest.mark.parametrize("flush_every", [1, 7, 150, 5000])
def test_the_first_lines_and_the_newest_are_kept(sink: Any, flush_every: int) -> None:
    writer = _writer(sink)
    for number in range(1, 5001):
        writer.write(logging.INFO, "stdout", f"line {number}")
        if number % flush_every == 0:
            writer.flush()
    assert writer.close()
    numbers = _numbers(sink)
    assert numbers[:200] == list(range(1, 201))
    newest = numbers[200:]
    assert newest == list(range(newest[0], 5001))
    # The unit of removal is a batch of at most 100 lines.
    assert 700 <= len(newest) <= 800
    assert all(line.message == f"line {line.line}" for line in sink.lines)


def test_the_limit_counts_bytes_too(sink: Any) -> None:
    writer = _writer(sink, lines=100_000, size=100_000)
    for number in range(1000):
        writer.write(logging.INFO, "stdout", f"{number:04} " + "é" * 500)
    writer.close()
    total = sum(len(line.message.encode()) for line in sink.lines)
    assert 60_000 < total <= 100_000
    assert sink.lines[0].line == 1
    assert sink.lines[-1].line == 1000


def test_batches_are_bounded(sink: Any, writer: LogWriter) -> None:
    for _ in range(500):
        writer.write(logging.INFO, "stdout", "short")
    for _ in range(50):
        writer.write(logging.INFO, "stdout", "x" * 10_000)
    writer.close()
    assert all(len(batch) <= 100 for batch in sink.entries.values())
    assert all(sum(len(line.message) for line in batch) <= 32 * 1024 for batch in sink.entries.values())
    assert sink.calls == 1


def test_lines_wait_in_bounded_numbers_while_the_registry_is_away(sink: Any, caplog: pytest.LogCaptureFixture) -> None:
    writer = _writer(sink)
    sink.is_down = True
    for number in range(50_000):
        writer.write(logging.INFO, "stdout", f"line {number}")
        if number % 10_000 == 0:
            assert not writer.flush()
    assert len([record for record in caplog.records if "logs.unwritten" in record.message]) == 1
    # If it comes back, what the limit allows is there.
    sink.is_down = False
    assert writer.close()
    assert _numbers(sink) == [*range(1, 201), *range(49_201, 50_001)]


def test_closing_without_a_registry_raises_nothing(sink: Any, writer: LogWriter) -> None:
    sink.is_down = True
    writer.write(logging.INFO, "stdout", "lost")
    assert not writer.close()
    # It may be asked again.
    sink.is_down = False
    assert writer.close()
    assert sink.messages == ["lost"]


def test_the_flusher_comes_by_itself(sink: Any) -> None:
    stored = threading.Event()
    append = sink.append

    def tell(*args: Any) -> None:
        append(*args)
        stored.set()

    sink.append = tell
    writer = LogWriter("x1", 1, sink, Settings(log_flush_s=0.01))
    writer.feed("stdout", "hello\n")
    assert stored.wait(10)
    assert sink.messages == ["hello"]


def test_many_threads_lose_nothing(sink: Any) -> None:
    writer = _writer(sink, lines=100_000, size=1 << 26)

    def write(name: str) -> None:
        for number in range(2000):
            writer.feed("stdout", f"{name} {number}\n")

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    assert _numbers(sink) == list(range(1, 8001))
    for name in "abcd":
        assert [text for text in sink.messages if text.startswith(name)] == [f"{name} {n}" for n in range(2000)]


@pytest.mark.slow
def test_a_function_that_prints_without_end_does_not_outgrow_its_limit(sink: Any) -> None:
    # Given the default limits and 200 MB in lines, in a stream that is written in pieces of all sizes
    writer = LogWriter("x1", 1, sink, Settings(log_flush_s=0.2))
    before = _resident_kib()
    line = "x" * 99 + "\n"
    for _ in range(1_000_000):
        writer.feed("stdout", line)
    writer.feed("stdout", line * 1_000_000)
    growth = _resident_kib() - before
    writer.close()
    # I expect little more than the one piece of 100 MB that the function itself made.
    assert growth < 40 * 1024
    assert sink.lines[-1].line == 2_000_000
    assert len(sink.lines) <= 10_000


def _resident_kib() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
