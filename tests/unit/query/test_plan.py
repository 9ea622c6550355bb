"""From a query to bitmaps, ranges and what the records must tell."""

from __future__ import annotations

from executions.query import Plan, is_relative, make_plan, parse
from executions.query.plan import All, AnyOf, Bit, Ids, Span, Without

NOW = 1_800_000_000_000_000
SECOND = 1_000_000
DAY = 86_400 * SECOND


def plan(text: str) -> Plan:
    return make_plan(parse(text), NOW)


def test_terms_become_bitmaps() -> None:
    assert plan("").bits is None
    assert plan("").is_everything
    assert plan("queue:gpu").bits == Bit("queue:gpu")
    assert plan("status:failed -tag:a,b").bits == All(
        (Bit("status:failed"), Without(AnyOf((Bit("tag:a"), Bit("tag:b")))))
    )


def test_a_root_is_part_of_what_is_below_it() -> None:
    assert plan("root:x").bits == AnyOf((Bit("root:x"), Ids(("x",))))
    assert plan("id:x,y").bits == Ids(("x", "y"))


def test_a_field_without_an_index_narrows_as_far_as_it_can_and_is_left_to_the_records() -> None:
    assert plan("reason:timeout").bits == Bit("status:failed")
    assert plan("reason:retrying,cancelled").bits == AnyOf((Bit("status:pending"), Bit("status:terminated")))
    assert plan("reason:timeout").unindexed == {"reason"}
    # What is not a timeout may be anything
    assert plan("-reason:timeout").bits is None
    assert plan("user:ann queue:a").bits == Bit("queue:a")
    assert plan("user:ann").unindexed == {"principal"}


def test_ranges_of_one_field_are_put_together() -> None:
    assert plan("duration:>1s duration:<=5s").spans == (Span("duration", SECOND + 1, 5 * SECOND),)
    assert plan("duration:>=1s duration:<5s").spans == (Span("duration", SECOND, 5 * SECOND - 1),)
    assert plan("started:-1d").spans == (Span("started", NOW - DAY, None),)
    assert plan("created:today").created == Span("created", NOW // DAY * DAY, NOW // DAY * DAY + DAY - 1)
    assert plan("created:>1970-01-01 created:<1970-01-03").created == Span("created", DAY, 2 * DAY - 1)


def test_what_is_counted_by_the_registry_needs_no_bitmaps() -> None:
    assert plan("status:failed,running").counted_terms == ("status:failed", "status:running")
    for text in ("", "-status:failed", "tag:a", "status:failed queue:a", "created:today", "id:x"):
        assert plan(text).counted_terms is None


def test_only_queries_with_relative_times_are_relative() -> None:
    assert is_relative(parse("queue:a started:<-5m"))
    assert not is_relative(parse("queue:now created:2026-01-01 TO *"))
