"""What people type is understood as they mean it."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import click
import pytest

from executions.cli import values
from executions.function import Parameters
from executions.query import parse


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5", 1.5), ("90s", 90), ("250ms", 0.25), ("5m", 300), ("1h30m", 5400), ("2d", 172_800), (7, 7)],
)
def test_a_length_of_time(text: Any, seconds: float) -> None:
    assert values.Seconds().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["0", "-5", "soon", "5x", "m5", "", "1h 30", "nan", "inf"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="not a length of time such as"):
        values.Seconds().convert(text, None, None)


def test_a_time_limit_is_a_whole_number_of_seconds() -> None:
    assert values.WholeSeconds().convert("1.5m", None, None) == 90
    with pytest.raises(click.BadParameter, match="whole number"):
        values.WholeSeconds().convert("1.5", None, None)


def test_statuses_and_their_aliases() -> None:
    assert values.Statuses().convert("failed,Completed", None, None) == "failed,success"
    with pytest.raises(click.BadParameter, match="'odd' is none of pending, running"):
        values.Statuses().convert("odd", None, None)


def test_a_pair_keeps_what_is_behind_the_first_sign() -> None:
    assert values.Pair().convert("a=b=c", None, None) == ("a", "b=c")


@pytest.mark.parametrize("text", ["a", "=5"])
def test_what_is_no_pair_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="not name=value"):
        values.Pair().convert(text, None, None)


def test_inputs_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "inputs.json"
    file.write_text('{"x": 1}')
    assert values.Inputs().convert(f"@{file}", None, None) == {"x": 1}


@pytest.mark.parametrize(
    ("text", "why"),
    [("{", "not JSON"), ("5", "give an object"), ("NaN", "not JSON"), ("@/nowhere/at/all", "No such file")],
)
def test_inputs_that_cannot_be_used_are_refused(text: str, why: str) -> None:
    with pytest.raises(click.BadParameter, match=why):
        values.Inputs().convert(text, None, None)


def test_inputs_are_put_together() -> None:
    assert values.merge_inputs(("1", "a"), (("x", "2"),), {"x": 1, "y": 3}, None) == ([1, "a"], {"x": 2, "y": 3})
    assert values.merge_inputs((), (), [1, 2], None) == ([1, 2], {})
    with pytest.raises(click.UsageError, match="not both"):
        values.merge_inputs(("1",), (), [1, 2], None)


def test_inputs_are_read_by_what_the_function_takes() -> None:
    def run(first: str, *rest: Any, note: str = "", many: int = 0) -> None: ...

    takes = Parameters.of(inspect.signature(run))
    typed = values.merge_inputs(("5", "5"), (("note", "7"), ("many", "7"), ("other", "7")), {"note": 1}, takes)
    assert typed == (["5", 5], {"note": "7", "many": 7, "other": 7})


@pytest.mark.parametrize("text", ["30m", "2h", "7d", "2026-01-31", "2026-01-31T10:00", "today"])
def test_since_is_a_query_that_is_understood(text: str) -> None:
    assert parse(values.since_query(text))


def test_a_cursor_still_fits_a_list_since_two_hours() -> None:
    assert values.since_query("2h") == values.since_query(" 2h") == "created:>=-2h"
