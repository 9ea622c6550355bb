"""What unit tests share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from executions import capture
from executions.capture import LogWriter
from executions.errors import Unavailable
from executions.logs import Line
from executions.settings import Settings


class MemorySink:
    """Keeps what a writer stores, as the registry would; can be unreachable."""

    def __init__(self) -> None:
        self.entries: dict[int, tuple[Line, ...]] = {}
        self.calls = 0
        self.is_down = False

    def append(
        self, execution_id: str, attempt: int, batches: Sequence[Sequence[Line]], drop: Sequence[int] = ()
    ) -> None:
        self.calls += 1
        if self.is_down:
            raise Unavailable("the registry's server cannot be reached")
        for batch in batches:
            self.entries[batch[-1].line] = tuple(batch)
        for last_line in drop:
            del self.entries[last_line]

    @property
    def lines(self) -> list[Line]:
        return [line for last_line in sorted(self.entries) for line in self.entries[last_line]]

    @property
    def messages(self) -> list[str]:
        return [line.message for line in self.lines]


@pytest.fixture
def sink() -> MemorySink:
    """A place for lines."""
    return MemorySink()


@pytest.fixture
def writer(sink: MemorySink) -> LogWriter:
    """A writer with the default limits; its flusher does not come during a test."""
    return LogWriter("x1", 1, sink, Settings(log_flush_s=3600))


@pytest.fixture
def captured() -> Iterator[None]:
    """A process that captures."""
    capture.install()
    yield
    capture.uninstall()
