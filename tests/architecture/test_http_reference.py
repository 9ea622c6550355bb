"""The reference of the HTTP API tells of every operation with its role, and of every kind of problem."""

from __future__ import annotations

import re

from executions import connect
from executions.server.app import make_app
from executions.server.problems import KINDS
from tests.architecture.source import ROOT

PAGE = (ROOT / "docs/reference/http.md").read_text()
ROWS = {(method, path): role for method, path, role in re.findall(r"^\| `([A-Z]+) (\S+)` \| (\w+) \|", PAGE, re.M)}


def test_the_reference_tells_of_every_operation_and_the_role_that_it_needs() -> None:
    found = make_app(connect("redis://127.0.0.1:1/0")).openapi()
    there = {}
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            role = re.search(r"Needs `(\w+)`\.", operation["description"])
            there[method.upper(), path] = role[1] if role else "nobody"
    assert there == ROWS


def test_the_reference_tells_of_every_kind_of_problem() -> None:
    rows = {slug: int(status) for slug, status in re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", PAGE, re.M)}
    assert rows == {slug: kind.status for slug, kind in KINDS.items()}
