"""What is offered while a query is typed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executions.query import suggestions

KNOWN = {
    "pipeline": ["mnist", "mnist classifier"],
    "function": ["tasks.train", "tasks.load"],
    "property": ["epochs", "my key"],
    "metric": ["loss"],
}


def offered(query: str, position: int | None = None) -> list[str]:
    """Give the queries that the suggestions would make."""
    at = len(query) if position is None else position
    found = suggestions(query, at, lambda field: KNOWN.get(field, []))
    return [query[: one.start] + one.text + query[one.stop :] for one in found]


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("", "status:"),
        ("sta", "status:"),
        ("-que", "-queue:"),
        ("status:failed pipe", "status:failed pipeline:"),
        ("(status:failed OR fun", "(status:failed OR function:"),
        ("status:fa", "status:failed"),
        ("status:failed,te", "status:failed,terminated"),
        ("-reason:work", "-reason:worker-lost"),
        ("is:stu", "is:stuck"),
        ("has:wor", "has:worker"),
        ("pipeline:mn", "pipeline:mnist"),
        ("pipeline=classi", 'pipeline="mnist classifier"'),
        ('pipeline:"mnist c', 'pipeline:"mnist classifier"'),
        ("function:load", "function:tasks.load"),
        ("created:>", "created:>today"),
        ("duration:", "duration:>1s"),
        ("prop", "property."),
        ("property.ep", "property.epochs"),
        ("property:my", 'property."my key"'),
        ("metric.", "metric.loss"),
        ("user", "principal:"),
        ("status:failed ", "status:failed AND"),
    ],
)
def test_what_was_begun_is_completed(query: str, first: str) -> None:
    assert offered(query)[0] == first


def test_the_place_counts_and_not_the_end() -> None:
    assert offered("status:fa queue:gpu", 9)[0] == "status:failed queue:gpu"


def test_where_nothing_is_known_nothing_is_offered() -> None:
    for query in ("name:x", "property.epochs>", "nothing-like-a-field", "attempt:"):
        assert offered(query) == []


@given(st.text(max_size=30), st.integers(-5, 40))
def test_nothing_that_is_typed_breaks_it(query: str, position: int) -> None:
    for one in suggestions(query, position, lambda field: KNOWN.get(field, [])):
        assert 0 <= one.start <= one.stop <= len(query)
