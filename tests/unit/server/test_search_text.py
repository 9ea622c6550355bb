"""The text in the search box: a filter that is clicked is written into it, and nothing else of it changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executions.query import parse
from executions.query.tree import And, Term
from executions.server.pages.search import Search


@pytest.mark.parametrize(
    ("text", "field", "value", "expected"),
    [
        ("", "status", "failed", "status:failed"),
        ("queue:gpu", "status", "failed", "queue:gpu AND status:failed"),
        ("status:failed", "status", "running", "status:failed,running"),
        ("status:failed,running queue:gpu", "status", "failed", "queue:gpu AND status:running"),
        ("status:failed", "status", "failed", ""),
        ("created:2026-01-01 TO 2026-01-31", "queue", "a b", 'created:2026-01-01 TO 2026-01-31 AND queue:"a b"'),
        ('queue:"a b"', "queue", "a b", ""),
        ("NOT status:failed", "status", "failed", "NOT status:failed AND status:failed"),
        ("duration: >5s and queue:x", "queue", "y", "duration: >5s AND queue:x,y"),
        ("a:1 OR b:2", "status", "failed", "(a:1 OR b:2) AND status:failed"),
        ('name:"one AND two"', "status", "failed", 'name:"one AND two" AND status:failed'),
    ],
)
def test_a_value_is_switched_on_and_off(text: str, field: str, value: str, expected: str) -> None:
    assert Search.read(text).toggled(field, value) == expected


@given(st.lists(st.text(min_size=1, max_size=12).filter(lambda text: "\x00" not in text), unique=True, max_size=4))
def test_any_value_is_read_back_as_it_was_chosen(values: list[str]) -> None:
    values = [value for value in values if value.encode(errors="ignore").decode() == value and value.strip()]
    search = Search.read("duration:>5s")
    for value in values:
        search = Search.read(search.toggled("queue", value))
    assert search.values("queue") == tuple(values)
    root = parse(search.text).root
    found = [item.values for item in root.items if isinstance(item, Term)] if isinstance(root, And) else []
    assert found == ([tuple(sorted(values))] if values else [])
    for value in values:
        search = Search.read(search.toggled("queue", value))
    assert search.text == "duration:>5s"


@given(st.text(max_size=80))
def test_no_text_is_too_odd(text: str) -> None:
    search = Search.read(text)
    assert search.values("status") is not None
    assert search.only("status", "failed").endswith("status:failed")
