"""Small things: modules, functions and classes stay of a size that one person reads in one go."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from executions.telemetry import ACTIONS
from tests.architecture.source import classes_in, functions_in, name_of, python_files, tree_of

MODULE_LINES = 400
FUNCTION_LINES = 60
PUBLIC_METHODS = 20

#: Names that say nothing about what is inside.
EMPTY_NAMES = {"utils", "util", "common", "helpers", "helper", "base", "misc"}

FILES = python_files()
OURS = pytest.mark.parametrize("path", FILES, ids=name_of)


@OURS
def test_a_module_is_at_most_400_lines_and_its_functions_60(path: Path) -> None:
    tree = tree_of(path)
    long = {one.name: lines(one) for one in functions_in(tree) if lines(one) > FUNCTION_LINES}
    assert len(path.read_text().splitlines()) <= MODULE_LINES
    assert long == {}


def lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


@OURS
def test_a_class_has_at_most_20_public_methods(path: Path) -> None:
    assert {kind.name: found for kind in classes_in(tree_of(path)) if len(found := public_methods(kind)) > 20} == {}


def public_methods(kind: ast.ClassDef) -> list[str]:
    """Give the names of a class's methods; what is read like an attribute is none."""
    return [
        node.name
        for node in kind.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("_")
        and not any(isinstance(d, ast.Name) and ("property" in d.id or d.id == "lazy") for d in node.decorator_list)
    ]


def test_every_module_is_named_by_a_concept() -> None:
    assert [name_of(path) for path in FILES if path.stem in EMPTY_NAMES] == []


@OURS
def test_every_module_says_what_it_is(path: Path) -> None:
    first = (ast.get_docstring(tree_of(path)) or "").split("\n\n")[0]
    assert first.endswith((".", ":")), first


def test_only_listed_actions_are_logged() -> None:
    found = {action for path in FILES for action in actions_in(tree_of(path))}
    assert found - ACTIONS.keys() == set(), "missing in telemetry.py"
    assert ACTIONS.keys() - found == set(), "listed in telemetry.py, and logged nowhere"


def actions_in(tree: ast.Module) -> list[str]:
    """Give the first word of every call of `telemetry.log`."""
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "log" and node.args
    ]
    words = [call.args[1] for call in calls if len(call.args) > 1]
    assert all(isinstance(word, ast.Constant) for word in words), "an action is written where it happens"
    return [str(word.value) for word in words if isinstance(word, ast.Constant)]


def test_records_are_frozen() -> None:
    places = ("executions/execution.py", "executions/page.py", "executions/registry")
    loose = [
        f"{name_of(path)}: {kind.name}"
        for path in FILES
        if name_of(path).startswith(places)
        for kind in classes_in(tree_of(path))
        if is_loose(kind) and kind.name not in WORKING
    ]
    assert loose == []


#: Dataclasses that do work, and are no records.
WORKING = {"Space", "Lane", "Budget", "Selection", "NumberWalk", "SortedWalk", "Totals"}


def is_loose(kind: ast.ClassDef) -> bool:
    """Tell whether a class is a dataclass whose fields can be written."""
    for decorator in kind.decorator_list:
        if isinstance(decorator, ast.Name) and decorator.id == "dataclass":
            return True
        if (
            isinstance(decorator, ast.Call)
            and isinstance(decorator.func, ast.Name)
            and decorator.func.id == "dataclass"
        ):
            return not any(word.arg == "frozen" for word in decorator.keywords)
    return False
