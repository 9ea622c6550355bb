"""What an execution prints and logs is its log, and nobody else's."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import io
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from celery.utils.log import LoggingProxy

from executions import capture
from executions.capture import LogWriter
from executions.capture.records import render
from executions.settings import Settings

pytestmark = pytest.mark.usefixtures("captured")


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger like `celery.task`: it has its own handlers and does not propagate."""
    logger = logging.getLogger("test.capture")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    yield logger
    logger.handlers.clear()
    logger.filters.clear()


@pytest.mark.feature("D47")
def test_print_and_logging_come_in_order_with_level_and_stream(sink: Any, writer: LogWriter, logger: Any) -> None:
    with capture.attempt(writer):
        print("one")
        logger.warning("two %s", 2)
        print("three", file=sys.stderr)
        logger.debug("below the logger's level")
        sys.stdout.writelines(["four\n", "fi", "ve\n"])
    assert [(line.line, line.level, line.stream, line.message) for line in sink.lines] == [
        (1, logging.INFO, "stdout", "one"),
        (2, logging.WARNING, "logging", "two 2"),
        (3, logging.WARNING, "stderr", "three"),
        (4, logging.INFO, "stdout", "four"),
        (5, logging.INFO, "stdout", "five"),
    ]


def test_text_goes_on_to_the_original_stream(capsys: pytest.CaptureFixture[str], sink: Any, writer: LogWriter) -> None:
    with capture.attempt(writer):
        print("both")
    print("outside")
    assert capsys.readouterr().out == "both\noutside\n"
    assert sink.messages == ["both"]


def test_it_can_be_kept_from_the_original_stream(
    capsys: pytest.CaptureFixture[str], sink: Any, writer: LogWriter
) -> None:
    capture.uninstall()
    capture.install(pass_on=False)
    with capture.attempt(writer):
        print("ours")
        sys.stdout.buffer.write(b"bytes\n")
    print("outside")
    assert capsys.readouterr().out == "outside\n"
    assert sink.messages == ["ours", "bytes"]


def test_bytes_written_to_the_buffer_are_lines_too(sink: Any, writer: LogWriter) -> None:
    with capture.attempt(writer):
        sys.stdout.buffer.write(b"caf\xc3\xa9 \xff\x00\n")
    assert sink.messages == ["café \\xff\x00"]


def test_binary_junk_survives(sink: Any, writer: LogWriter, capsys: pytest.CaptureFixture[str]) -> None:
    with capture.attempt(writer), contextlib.suppress(UnicodeEncodeError):
        # The terminal may refuse it, as it would without us; the log has it.
        print("nul \x00 surrogate \udcff bell \x07")
    assert sink.messages == ["nul \x00 surrogate \\udcff bell \x07"]
    assert sink.messages[0].encode()


def test_a_traceback_has_the_level_of_its_record(sink: Any, writer: LogWriter, logger: Any) -> None:
    with capture.attempt(writer):
        try:
            raise ValueError("no")
        except ValueError:
            logger.exception("it failed")
    assert sink.messages[0] == "it failed"
    assert sink.messages[-1] == "ValueError: no"
    assert {line.level for line in sink.lines} == {logging.ERROR}


def test_a_record_whose_arguments_do_not_fit_harms_nobody() -> None:
    record = logging.LogRecord("x", logging.INFO, "x.py", 1, "%d of %d", ("one",), None)
    assert render(record) == "%d of %d (its arguments do not fit: TypeError)"


def test_a_filter_is_honoured(sink: Any, writer: LogWriter, logger: Any) -> None:
    logger.addFilter(lambda record: "secret" not in record.getMessage())
    with capture.attempt(writer):
        logger.info("a secret")
        logger.info("a word")
    assert sink.messages == ["a word"]


def test_a_handler_that_writes_to_the_stream_does_not_double_the_line(
    sink: Any, writer: LogWriter, logger: Any
) -> None:
    logger.addHandler(logging.StreamHandler(sys.stdout))
    with capture.attempt(writer):
        logger.info("once")
    assert sink.messages == ["once"]


class _Printing(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print("handler says", record.getMessage())


def test_nor_does_a_handler_that_prints(sink: Any, writer: LogWriter, logger: Any) -> None:
    logger.addHandler(_Printing())
    with capture.attempt(writer):
        logger.info("once")
        print("and this")
    assert sink.messages == ["once", "and this"]


@pytest.mark.parametrize("redirected_first", [True, False])
def test_celerys_redirection_of_stdout_does_not_double_the_line(
    sink: Any, writer: LogWriter, logger: Any, monkeypatch: pytest.MonkeyPatch, redirected_first: bool
) -> None:
    seen: list[str] = []

    def see(record: logging.LogRecord) -> bool:
        seen.append(record.getMessage())
        return True

    logger.addHandler(logging.StreamHandler(io.StringIO()))
    logger.addFilter(see)
    if redirected_first:
        capture.uninstall()
    monkeypatch.setattr(sys, "stdout", LoggingProxy(logger, logging.WARNING))
    capture.install()
    with capture.attempt(writer):
        print("once")
    assert [(line.stream, line.message) for line in sink.lines] == [("stdout", "once")]
    assert seen == ["once"]
    capture.uninstall()


@pytest.mark.feature("D47")
def test_two_threads_never_mix(captured: None) -> None:
    sinks = {name: _run_apart(name) for name in ("a", "b")}
    for thread, _ in sinks.values():
        thread.start()
    for thread, _ in sinks.values():
        thread.join()
    for name, (_, sink) in sinks.items():
        assert sink.messages == [f"{name} {number}" for number in range(2000)]


def _run_apart(name: str) -> tuple[threading.Thread, Any]:
    sink = _Lines()
    writer = LogWriter(name, 1, sink, Settings(log_flush_s=3600))

    def run() -> None:
        with capture.attempt(writer):
            for number in range(2000):
                print(name, number)

    return threading.Thread(target=run), sink


class _Lines:
    def __init__(self) -> None:
        self.messages: list[str] = []

    def append(self, execution_id: str, attempt: int, batches: Any, drop: Any = ()) -> None:
        self.messages += [line.message for batch in batches for line in batch]


def test_asyncio_tasks_never_mix() -> None:
    sinks = {name: _Lines() for name in ("a", "b", "c")}

    async def execution(name: str) -> None:
        with capture.attempt(LogWriter(name, 1, sinks[name], Settings(log_flush_s=3600))):
            for number in range(50):
                print(f"{name} {number}")
                await asyncio.sleep(0)
                await asyncio.to_thread(logging.getLogger("test.tasks").error, f"{name} {number} from a thread")

    async def together() -> None:
        await asyncio.gather(*(execution(name) for name in sinks))

    asyncio.run(together())
    for name, sink in sinks.items():
        expected = [text for number in range(50) for text in (f"{name} {number}", f"{name} {number} from a thread")]
        assert sink.messages == expected


def test_a_thread_takes_part_when_it_is_given_the_context(sink: Any, writer: LogWriter) -> None:
    with capture.attempt(writer):
        plain = threading.Thread(target=print, args=("somebody's",))
        with_context = threading.Thread(target=contextvars.copy_context().run, args=(print, "ours"))
        for thread in (plain, with_context):
            thread.start()
            thread.join()
    assert sink.messages == ["ours"]


def test_an_attempt_within_an_attempt_has_its_own_lines(sink: Any, writer: LogWriter) -> None:
    # Given an eager run inside of a function
    inner = _Lines()
    with capture.attempt(writer):
        print("before")
        with capture.attempt(LogWriter("inner", 1, inner, Settings(log_flush_s=3600))):
            print("inside")
        print("after")
    assert sink.messages == ["before", "after"]
    assert inner.messages == ["inside"]


def test_what_has_no_newline_is_stored_at_the_end(sink: Any, writer: LogWriter) -> None:
    with capture.attempt(writer):
        print("half", end="")
        print(" a line", end="")
    assert sink.messages == ["half a line"]


def test_nothing_is_captured_after_the_end(sink: Any, writer: LogWriter) -> None:
    begun = capture.begin(writer)
    print("in")
    assert capture.end(begun)
    print("out")
    writer.write(logging.INFO, "logging", "too late")
    assert writer.flush()
    assert sink.messages == ["in"]


def test_streams_that_others_replace_are_wrapped_again(
    sink: Any, writer: LogWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with capture.attempt(writer):
        print("still caught")
        with contextlib.redirect_stdout(io.StringIO()) as users_own:
            print("the function's own business")
    assert sink.messages == ["still caught"]
    assert users_own.getvalue() == "the function's own business\n"


def test_the_proxy_answers_as_the_original() -> None:
    capture.uninstall()
    original = sys.stdout
    capture.install()
    capture.install()
    assert sys.stdout is not original
    assert sys.stdout.encoding == original.encoding
    assert sys.stdout.isatty() == original.isatty()
    with pytest.raises(TypeError):
        sys.stdout.write(b"bytes")  # type: ignore[arg-type]
    capture.uninstall()
    capture.uninstall()
    assert sys.stdout is original
    assert not capture.is_installed()


def test_uninstalling_restores_logging() -> None:
    wrapped = logging.Logger.callHandlers
    capture.uninstall()
    assert logging.Logger.callHandlers is not wrapped
    assert logging.Logger.callHandlers.__module__ == "logging"


def test_an_object_that_prints_when_it_is_collected_blocks_nothing(sink: Any, writer: LogWriter) -> None:
    class Loud:
        def __del__(self) -> None:
            print("gone")

    with capture.attempt(writer):
        for _ in range(3000):
            loud = Loud()
            loud.itself = loud  # type: ignore[attr-defined]
            print("step")
    assert sink.messages.count("gone") > 0
