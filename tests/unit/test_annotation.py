"""What annotations say of values, and how typed text is read by them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Optional

import pytest

from executions.annotation import LENGTH, load, read, takes, written


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        ("int", 1, True),
        ("int", "1", False),
        ("int", 1.5, False),
        ("int", None, False),
        ("float", 1, True),
        ("float", "x", False),
        ("bool", True, True),
        ("bool", 1, False),
        ("str", "x", True),
        ("str", 5, False),
        ("list[int]", [1], True),
        ("list[int | None]", (1,), True),
        ("tuple[int, str]", [1, "x"], True),
        ("set[str]", ["x"], True),
        ("list", {"a": 1}, False),
        ("dict[str, list[int] | None]", {}, True),
        ("dict[str, int]", [], False),
        ("int | None", None, True),
        ("int|str", "x", True),
        ("int | str", 1.5, False),
        ("Optional[int]", None, True),
        ("typing.Optional[list[int]]", [1], True),
        ("Optional[int]", "x", False),
        # What it does not know, it lets through
        ("", object(), True),
        ("Any", 1, True),
        ("Order", {"id": 1}, True),
        ("int | Order", "x", True),
        ("Literal['a|b']", 1, True),
        ("Sequence[int]", "x", True),
        ("str", Path("x"), True),
        ("int", datetime.now(), True),
        ("]|[", 1, True),
    ],
)
def test_an_annotation_takes_what_it_names(annotation: str, value: Any, expected: bool) -> None:
    assert takes(annotation, value) is expected


def _functions() -> list[tuple[Callable[..., Any], str]]:
    def plain(x: int) -> None: ...
    def either(x: int | None) -> None: ...
    def optional(x: Optional[int]) -> None: ...  # noqa: UP045
    def implied(x: int = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013
    def inner(x: dict[str, list[int]]) -> None: ...
    def nothing(x) -> None: ...  # type: ignore[no-untyped-def]

    return [
        (plain, "int"), (either, "int | None"), (optional, "Optional[int]"), (implied, "int | None"),
        (inner, "dict[str, list[int]]"), (nothing, ""),
    ]  # fmt: skip


@pytest.mark.parametrize("resolved", [False, True], ids=["as text", "as objects"])
@pytest.mark.parametrize(("function", "expected"), _functions(), ids=lambda one: getattr(one, "__name__", ""))
def test_an_annotation_is_kept_as_written(function: Callable[..., Any], expected: str, resolved: bool) -> None:
    parameter = inspect.signature(function, eval_str=resolved).parameters["x"]
    assert written(parameter) == expected


def test_an_endless_annotation_is_left_out() -> None:
    parameter = inspect.Parameter("x", inspect.Parameter.KEYWORD_ONLY, annotation="int | " * LENGTH + "str")
    assert written(parameter) == ""


@pytest.mark.parametrize(
    ("text", "annotation", "expected"),
    [
        ("5", "", 5),
        ("0.5", "", 0.5),
        ("", "", ""),
        ("007", "", "007"),
        ("[1, 2]", "", [1, 2]),
        ('{"id": 7}', "", {"id": 7}),
        ("{broken", "", "{broken"),
        ("-Infinity", "", "-Infinity"),
        ("5", "int", 5),
        ("5", "str", "5"),
        ("true", "str", "true"),
        ('"5"', "str", "5"),
        ('"5"', "", "5"),
        ("null", "str | None", None),
        ("null", "str", "null"),
        ("mnist", "str", "mnist"),
        ("5", "int | str", 5),
        ("NaN", "", "NaN"),
        # Neither may be given: the launch says why
        ("5", "list", 5),
        ("x", "int", "x"),
        ("[" * 100_000, "", "[" * 100_000),
    ],
)  # fmt: skip
def test_typed_text_is_read_by_what_the_annotation_takes(text: str, annotation: str, expected: Any) -> None:
    found = read(text, annotation)
    assert (type(found), found) == (type(expected), expected)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "{", ""])
def test_only_json_is_json(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        load(text)
