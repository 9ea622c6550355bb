"""What is printed fits, says everything that matters, and cannot be used against a terminal."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.color import ColorSystem

from executions.cli import render, waiting
from executions.cli.documents import as_csv, summaries
from executions.cli.listing import _PLAIN_COLUMNS, COLUMNS, compose
from executions.cli.session import Output, Session
from executions.execution import ErrorInfo, Execution, StopRequest
from executions.states import Reason, Status

AT = datetime(2026, 1, 31, 10, 0, 0, 123456, tzinfo=UTC)
DONE = Execution(
    id="0199d1f0-7a51-7c33-8e52-2f4f5d6a7b8c",
    number=7,
    function="shop.models.training.train_everything_there_is",
    status=Status.FAILED,
    reason=Reason.WORKER_LOST,
    queue="gpu",
    attempt=2,
    created=AT,
    started=AT,
    finished=AT.replace(second=5),
    tags=("nightly", "gpu"),
    message="the worker was lost",
)


def printed(width: int, *, terminal: bool, columns: Any, rows: list[Execution]) -> list[str]:
    """Give the lines of a table on a terminal or in a pipe."""
    out = Output(no_color=True)
    out.file = io.StringIO()
    out._force_terminal = terminal
    out.width = width
    render.table(out, columns, rows)
    return out.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [72, 80, 100, 120, 160, 200])
def test_a_table_fits_the_terminal_and_no_id_is_cut(width: int) -> None:
    lines = printed(width, terminal=True, columns=COLUMNS, rows=[DONE] * 3)
    assert all(len(line) <= width for line in lines), lines
    assert all(DONE.id in line for line in lines[1:])
    assert len(lines) == 4


def test_a_name_loses_its_beginning() -> None:
    (_, line) = printed(80, terminal=True, columns=COLUMNS, rows=[DONE])
    assert "there_is" in line
    assert "shop." not in line


def test_on_a_terminal_that_is_too_narrow_the_id_is_still_whole() -> None:
    assert DONE.id in printed(20, terminal=True, columns=COLUMNS, rows=[DONE])[1]


def test_in_a_pipe_nothing_is_cut_and_each_row_is_as_many_words() -> None:
    head, *rows = printed(10_000, terminal=False, columns=_PLAIN_COLUMNS, rows=[DONE, replace(DONE, queue=None)])
    assert all(len(row.split()) == len(head.split()) for row in rows)
    assert rows[0].split() == [
        DONE.id, "failed", "worker-lost", DONE.function, "2026-01-31T10:00:00.123456Z", "5.000", "2", "gpu",
    ]  # fmt: skip


def test_columns_that_are_only_shown_where_there_is_room_are_left_out_when_empty() -> None:
    head = printed(200, terminal=True, columns=COLUMNS, rows=[replace(DONE, tags=())])[0]
    assert "TAGS" not in head
    assert "QUEUE" in head


def test_the_usual_reasons_are_not_said() -> None:
    words = [
        render.status_text(replace(DONE, status=status, reason=reason)).plain
        for status, reason in [
            (Status.PENDING, Reason.QUEUED),
            (Status.PENDING, Reason.SCHEDULED),
            (Status.FAILED, Reason.ERROR),
            (Status.FAILED, Reason.TIMEOUT),
        ]
    ]
    assert words == ["pending", "pending (scheduled)", "failed", "failed (timeout)"]


def test_a_running_one_shows_its_progress() -> None:
    running = replace(DONE, status=Status.RUNNING, reason=Reason.STARTED, progress=40)
    assert render.status_text(running).plain == render.short_status(running).plain == "running 40%"


def test_each_status_has_a_colour() -> None:
    assert set(render.COLOURS) == set(Status)


def test_what_others_wrote_cannot_move_the_cursor() -> None:
    evil = "a\x1b]0;title\x07b\x9bc\rd"
    assert all(sign not in render.safe(evil) for sign in "\x1b\x07\x9b\r")
    (_, line) = printed(200, terminal=True, columns=COLUMNS, rows=[replace(DONE, message=evil)])
    assert "\x1b]" not in line


def test_brackets_in_what_others_wrote_are_text() -> None:
    (_, line) = printed(200, terminal=True, columns=COLUMNS, rows=[replace(DONE, message="[red]x[/red] :smile:")])
    assert "[red]x[/red] :smile:" in line


def test_a_long_value_is_laid_out_and_a_short_one_is_not() -> None:
    assert render.value_text({"a": 1}) == '{"a": 1}'
    assert render.value_text({"a": list(range(50))}).count("\n") > 50


@pytest.mark.parametrize("terminal", [True, False])
def test_a_line_of_a_log_keeps_at_most_its_colours(terminal: bool) -> None:
    out = Output()
    out.file = io.StringIO()
    out._force_terminal = terminal
    out._color_system = ColorSystem.STANDARD if terminal else None
    session = Session()
    session.__dict__["out"] = out
    text = "\x1b[31mred\x1b[0m [b]text[/b] \x1b]0;title\x07\x1b[2J"
    waiting.print_lines(session, [{"timestamp": AT, "level": "INFO", "message": text, "attempt": 1}])
    printed = out.file.getvalue()
    assert "[b]text[/b]" in printed
    assert ("\x1b[31mred" in printed) is terminal
    assert not any(sign in printed for sign in ("\x1b]0", "\x1b[2J", "\x07"))


def test_the_end_tells_who_stopped_it_and_why() -> None:
    request = StopRequest("ada@desk", "wrong data", "checkpoint", None, AT)
    stopped = replace(DONE, status=Status.TERMINATED, reason=Reason.REQUESTED, stop_request=request)
    assert "by ada@desk: wrong data" in waiting.ending(stopped).plain


def test_the_end_tells_the_error() -> None:
    failed = replace(DONE, reason=Reason.ERROR, error=ErrorInfo("ValueError", "no such thing"))
    assert waiting.ending(failed).plain.endswith("ValueError: no such thing")


def test_csv_has_a_row_for_each_and_no_formula() -> None:
    lines = "".join(as_csv(summaries([replace(DONE, message="=HYPERLINK(1)", name='a "b", c')]))).splitlines()
    assert len(lines) == 2
    assert "'=HYPERLINK(1)" in lines[1]
    assert '"a ""b"", c"' in lines[1]


def test_options_narrow_a_query_and_leave_its_places_where_they_are() -> None:
    query = compose("tag:a", "2h", {"status": ("failed,success",), "function": ("shop.x", "a b"), "queue": ()})
    assert query == 'tag:a AND status:failed,success AND function:shop.x,"a b" AND created:>=-2h'
    assert compose(" ", None, {"status": ()}) is None
