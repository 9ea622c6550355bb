"""The public API is what `executions/__init__.py` exports; all of it is described."""

from __future__ import annotations

import inspect
import re
from types import ModuleType

import pytest

import executions
from executions.client.audit import AuditView
from executions.client.executions import Executions
from executions.client.functions import FunctionsView
from executions.client.people import PeopleView
from executions.client.queues import QueuesView
from executions.client.services import ServicesView
from executions.client.views import ViewsView
from executions.client.workers import WorkersView
from tests.architecture.source import ROOT, tree_of

REFERENCE = "\n".join(path.read_text() for path in sorted((ROOT / "docs/reference").glob("*.md")))

#: What users hold without having made it.
HELD = (
    executions.Client,
    executions.Execution,
    executions.Service,
    Executions,
    FunctionsView,
    ServicesView,
    WorkersView,
    QueuesView,
    PeopleView,
    AuditView,
    ViewsView,
)


def test_all_is_what_is_there() -> None:
    there = {name for name, value in vars(executions).items() if not name.startswith("_") and not hidden(value)}
    assert set(executions.__all__) == there
    assert list(executions.__all__) == sorted(executions.__all__, key=lambda name: (not name[0].isupper(), name))


def hidden(value: object) -> bool:
    return isinstance(value, ModuleType)


def test_the_package_holds_nothing_but_exports() -> None:
    kinds = {type(node).__name__ for node in tree_of(ROOT / "executions/__init__.py").body}
    assert kinds == {"Expr", "ImportFrom", "Assign"}


@pytest.mark.parametrize("name", executions.__all__)
def test_a_public_name_says_what_it_is(name: str) -> None:
    described = inspect.getdoc(getattr(executions, name)) or ""
    first = described.split("\n\n")[0].replace("\n", " ")
    assert re.match(r"[A-Z`].*[.:]$", first), first


@pytest.mark.parametrize("name", executions.__all__)
def test_a_public_name_stands_in_the_reference(name: str) -> None:
    assert re.search(rf"`(?:executions\.)?{name}\b", REFERENCE), f"{name} is missing in docs/reference"


@pytest.mark.parametrize("kind", HELD, ids=lambda kind: kind.__name__)
def test_what_users_hold_is_described_down_to_its_methods(kind: type) -> None:
    public = [name for name in vars(kind) if not name.startswith("_")]
    methods = [name for name in public if is_method(kind, name)]
    assert [name for name in methods if not (getattr(kind, name).__doc__ or "").strip()] == []
    assert [name for name in methods if f"{name}" not in REFERENCE] == []


def is_method(kind: type, name: str) -> bool:
    return callable(getattr(kind, name)) or isinstance(inspect.getattr_static(kind, name), property)
