"""A log view is a list of dicts, its text, and says what is missing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from executions.errors import InvalidInput, NotFound
from executions.logs import Limit, Line, LogPage, LogView, parse_level, say_cuts, to_record


class _Source:
    """Two attempts of three lines each, on pages of two."""

    def __init__(self) -> None:
        self.reads = 0

    def attempts(self, execution_id: str) -> int:
        return 2

    def read(
        self, execution_id: str, attempt: int, *, after_line: int = 0, limit: int = 2, level: str | None = None
    ) -> LogPage:
        self.reads += 1
        lines = [Line(1_700_000_000_000_000, logging.INFO, "stdout", n, f"{attempt}.{n}") for n in (1, 2, 3)]
        found = tuple(to_record(line, attempt) for line in lines if line.line > after_line)[:limit]
        return LogPage(found, after_line + len(found), after_line + len(found) < 3, False)

    def follow(
        self, execution_id: str, *, attempt: int | None = None, level: str | None = None
    ) -> Iterator[dict[str, Any]]:
        yield from self.read(execution_id, attempt or 1).records


@pytest.mark.feature("D44")
def test_it_is_a_list_and_its_text() -> None:
    view = LogView(_Source(), "x")
    assert str(view) == "1.1\n1.2\n1.3\n2.1\n2.2\n2.3"
    assert len(view) == 6
    assert view[-1]["message"] == "2.3"
    assert [record["line"] for record in view[1:4]] == [2, 3, 1]
    assert [record["message"] for record in view] == [record["message"] for record in view]
    assert view[0].keys() == {"timestamp", "message", "level", "stream", "attempt", "line"}
    assert view[0]["timestamp"].utcoffset() is not None
    assert view[0]["level"] == "INFO"


def test_it_is_read_once_and_only_as_far_as_needed() -> None:
    source = _Source()
    view = LogView(source, "x")
    assert next(iter(view))["message"] == "1.1"
    assert source.reads == 1
    list(view)
    list(view)
    assert source.reads == 4


def test_one_attempt_can_be_asked_for() -> None:
    assert str(LogView(_Source(), "x", attempt=2)) == "2.1\n2.2\n2.3"
    with pytest.raises(NotFound, match="no attempt 3; it has had 2"):
        len(LogView(_Source(), "x", attempt=3))
    with pytest.raises(InvalidInput, match="count from 1"):
        LogView(_Source(), "x", attempt=0)


def test_a_view_that_follows_starts_anew_with_each_iteration() -> None:
    view = LogView(_Source(), "x", follow=True)
    assert [record["message"] for record in view] == ["1.1", "1.2"]
    assert [record["message"] for record in list(view)] == ["1.1", "1.2"]
    assert str(view) == "1.1\n1.2"
    assert view[0]["message"] == "1.1"
    assert view
    with pytest.raises(TypeError, match="no length"):
        len(view)


@pytest.mark.feature("D46")
def test_a_wrong_level_is_refused_with_the_known_ones() -> None:
    assert parse_level("warn") == parse_level("WARNING") == logging.WARNING
    assert parse_level(None) == 0
    with pytest.raises(InvalidInput, match="'LOUD': use one of DEBUG, INFO, WARNING, ERROR, CRITICAL"):
        LogView(_Source(), "x", level="LOUD")


def test_missing_numbers_are_said_where_they_are_missing() -> None:
    lines = [Line(5, logging.INFO, "stdout", number, "text") for number in (1, 2, 90_003)]
    said = list(say_cuts(lines, 0, Limit(10_000, 4 << 20)))
    assert [line.line for line in said] == [1, 2, 90_002, 90_003]
    assert said[2] == Line(
        5,
        logging.WARNING,
        "executions",
        90_002,
        "... 90,000 lines not kept: the limit is 10,000 lines or 4 MiB of an attempt",
    )
