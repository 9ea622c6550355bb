"""Errors: one file, one tree that is drawn at its top, and each error says what the caller can do."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

import executions
from executions import errors
from executions.errors import ExecutionFailed, InvalidQuery
from tests.architecture.source import ROOT

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]
EACH = pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
PAGE = (ROOT / "docs/reference/errors.md").read_text()


def drawn() -> dict[str, tuple[str | None, str | None]]:
    """Read the tree: each error with the one that it hangs on, and the built-in that it is as well."""
    found: dict[str, tuple[str | None, str | None]] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        parts = re.match(r"^([│├└─ ]*)([A-Z]\w+)(?: \((\w+)\))?(?:  .*|)$", line)
        if parts:
            depth = len(parts[1]) // 4
            path[depth:] = [parts[2]]
            found[parts[2]] = (path[depth - 1] if depth else None, parts[3])
    return found


@EACH
def test_an_error_stands_in_the_drawn_tree(kind: type[Exception]) -> None:
    tree = drawn()
    assert kind.__name__ in tree
    above, builtin = tree[kind.__name__]
    parents = {parent.__name__ for parent in kind.__mro__[1:]}
    assert above is None or above in parents
    assert builtin is None or builtin in parents


def test_the_tree_has_no_error_that_is_not_there() -> None:
    assert drawn().keys() == {kind.__name__ for kind in ALL}


@EACH
def test_an_error_says_when_it_is_raised(kind: type[Exception]) -> None:
    assert (kind.__doc__ or "").split("\n")[0].endswith((".", ";"))
    assert issubclass(kind, executions.ExecutionsError)
    assert getattr(executions, kind.__name__) is kind
    assert re.search(rf"^\| `{kind.__name__}` \|", PAGE, re.MULTILINE)


@EACH
def test_an_error_survives_pickling(kind: type[Exception]) -> None:
    given = {InvalidQuery: ("no such field", 3), ExecutionFailed: ("ShopError", "sold out", "Traceback ...")}
    error = kind(*given.get(kind, ("it happened",)))
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
    assert vars(again) == vars(error)
