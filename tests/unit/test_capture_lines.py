"""Pieces of text become lines."""

from __future__ import annotations

import pytest

from executions.capture.lines import MAX_LINE, LineJoiner


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        (["one\n"], ["one"]),
        (["one", "\n"], ["one"]),
        (["o", "n", "e\ntw", "o\n"], ["one", "two"]),
        (["a\nb\nc\n"], ["a", "b", "c"]),
        (["\n", "\n"], ["", ""]),
        (["no newline"], ["no newline"]),
        (["windows\r\nlines\r\n"], ["windows", "lines"]),
        (["windows\r", "\n"], ["windows"]),
        (["10%\r20%\r30%\n"], ["30%"]),
        (["\r10%", "\r20%", "\r30%", "\n"], ["30%"]),
        (["10%\r", "20%\r", "30%\r", "\n"], ["30%"]),
        (["\x1b[31mred\x1b[0m\n"], ["\x1b[31mred\x1b[0m"]),
    ],
)
def test_a_line_ends_with_its_newline(pieces: list[str], lines: list[str]) -> None:
    assert _join(pieces) == lines


@pytest.mark.parametrize("pieces", [["x" * (1 << 20) + "\n"], ["x" * (1 << 20), "\n"], ["x" * 1024] * 1024 + ["\n"]])
def test_a_line_of_a_mebibyte_is_cut_and_counted(pieces: list[str]) -> None:
    (line,) = _join(pieces)
    assert line == "x" * MAX_LINE + " ... 1,032,192 more characters"


def test_a_progress_bar_shows_its_last_state_at_each_flush() -> None:
    lines: list[str] = []
    joiner = LineJoiner(lines.append)
    for percent in range(50):
        joiner.feed(f"\r{percent}%", 1)
    joiner.show_bars()
    joiner.show_bars()
    for percent in range(50, 101):
        joiner.feed(f"\r{percent}%", 1)
    joiner.show_bars()
    joiner.feed("\n", 1)
    joiner.feed("done", 1)
    joiner.show_bars()
    joiner.finish()
    assert lines == ["49%", "100%", "done"]


def test_threads_do_not_share_a_line() -> None:
    lines: list[str] = []
    joiner = LineJoiner(lines.append)
    for text in ("left ", "side\n"):
        joiner.feed(text, 1)
        joiner.feed(text.upper(), 2)
    assert lines == ["left side", "LEFT SIDE"]


def test_open_lines_of_many_threads_are_bounded() -> None:
    lines: list[str] = []
    joiner = LineJoiner(lines.append)
    for thread in range(1000):
        joiner.feed("never ended", thread)
    assert len(lines) > 700


def _join(pieces: list[str]) -> list[str]:
    lines: list[str] = []
    joiner = LineJoiner(lines.append)
    for piece in pieces:
        joiner.feed(piece, 1)
    joiner.finish()
    return lines
