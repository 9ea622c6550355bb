"""What functions take, as it is told: names, annotations and defaults as in the code."""

from __future__ import annotations

import inspect
from typing import Any

from executions.cli.fleet import _takes
from executions.function import Function, Parameters


def train(
    data: str, rate: float = 0.1, api_key: str = "k-1", names: tuple[str, ...] = ("a",), *args: Any,
    seed: Any = None, how: Any = object(), text="x" * 100, **more: Any,  # type: ignore[no-untyped-def]  # noqa: B008
) -> None:  # fmt: skip
    """Train a model."""


def test_defaults_are_told_as_they_are_written_but_for_secrets_and_what_is_no_plain_value() -> None:
    known = Function(name="train", parameters=Parameters.of(inspect.signature(train)))
    assert _takes(known) == (
        "data: str, rate: float = 0.1, api_key: str = [redacted], names: tuple[str, ...] = ('a',), *args: Any, "
        "seed: Any | None = None, how: Any = ..., text=..., **more: Any"
    )
    # What workers tell is read back as it was, also by and from a version that told no defaults
    assert Function.read("train", known.as_dict()) == known
    older = {"parameters": [[one.name, one.kind, one.required, one.annotation] for one in known.parameters.each]}  # type: ignore[union-attr]
    read = Function.read("train", older).parameters
    assert read is not None
    assert {one.default for one in read.each} == {""}
    assert _takes(Function.read("f", {"parameters": [["x", "positional_or_keyword", False]]})) == "x=..."
