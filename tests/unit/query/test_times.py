"""Times and lengths of time as people write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from executions.query.times import is_relative, read_length, read_moment

NOW = datetime(2026, 3, 15, 12, 30, 45, 123456, tzinfo=UTC)


def us(*parts: int) -> int:
    return round(datetime(*parts, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026-01-31", us(2026, 1, 31), us(2026, 2, 1)),
        ("2026-12", us(2026, 12, 1), us(2027, 1, 1)),
        ("2024-02", us(2024, 2, 1), us(2024, 3, 1)),
        ("2026", us(2026, 1, 1), us(2027, 1, 1)),
        ("today", us(2026, 3, 15), us(2026, 3, 16)),
        ("Yesterday", us(2026, 3, 14), us(2026, 3, 15)),
        ("2026-01-31T10:00", us(2026, 1, 31, 10), None),
        ("2026-01-31 10:00:30", us(2026, 1, 31, 10, 0, 30), None),
        ("2026-01-31T10:00Z", us(2026, 1, 31, 10), None),
        ("2026-01-31t10:00+02:00", us(2026, 1, 31, 8), None),
        ("2026-01-31T10:00:00.000001Z", us(2026, 1, 31, 10) + 1, None),
        ("-24h", us(2026, 3, 14, 12, 30, 45) + 123456, None),
        ("-1w", us(2026, 3, 8, 12, 30, 45) + 123456, None),
        ("now", us(2026, 3, 15, 12, 30, 45) + 123456, None),
    ],
)
def test_a_moment_stands_for_its_period_or_its_instant(text: str, start: int, end: int | None) -> None:
    now_us = us(2026, 3, 15, 12, 30, 45) + 123456
    assert read_moment(text, now_us) == (start, start + 1 if end is None else end)


@pytest.mark.parametrize(
    "text",
    ["", "soon", "2026-13-01", "2026-02-30", "0000-01-01", "9999-12-31", "9999-12", "26-01-01", "20260101", "24h",
     "2026-01-31T25:00", "2026-01-31T10", "-h", "-24", "--24h", "2026-W05", "+24h"],
)  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a date"):
        read_moment(text)


@pytest.mark.parametrize(
    ("text", "length"),
    [("5s", 5_000_000), ("5", 5_000_000), ("0.5", 500_000), ("250ms", 250_000), ("7us", 7), ("1h30m", 5_400_000_000),
     ("2min", 120_000_000), ("1.5D", 129_600_000_000), ("1w", 604_800_000_000), ("0s", 0)],
)  # fmt: skip
def test_a_length_is_read_to_the_microsecond(text: str, length: int) -> None:
    assert read_length(text) == length


@pytest.mark.parametrize("text", ["", "fast", "5 s", "-5s", "5x", "s", "1h30", "1e5s", "٣s"])
def test_what_is_no_length_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a length of time"):
        read_length(text)


def test_only_times_that_move_are_relative() -> None:
    assert all(is_relative(text) for text in ("now", "Today", "yesterday", "-5m"))
    assert not any(is_relative(text) for text in ("2026-01-01", "5m", ""))
