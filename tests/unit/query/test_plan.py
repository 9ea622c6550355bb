"""From a query to bitmaps, ranges and what the records must tell."""

from __future__ import annotations

from executions.query import Plan, is_relative, make_plan, parse
from executions.query.plan import EVERYTHING, NOTHING, All, AnyOf, Bit, Bits, Ids, Span, Valued, Without, bounds

NOW = 1_800_000_000_000_000
SECOND = 1_000_000
DAY = 86_400 * SECOND


def plan(text: str) -> Plan:
    return make_plan(parse(text), NOW)


def around(text: str) -> tuple[Bits, Bits]:
    """Give what surely matches and what may, by bitmaps alone."""
    return bounds(plan(text).bits or EVERYTHING, lambda leaf: (leaf, leaf) if isinstance(leaf, Bit) else None)


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
    assert around("reason:timeout") == (NOTHING, Bit("status:failed"))
    assert around("reason:retrying,cancelled")[1] == AnyOf((Bit("status:pending"), Bit("status:terminated")))
    # What is not a timeout may be anything; what has not failed is none for sure
    assert around("-reason:timeout") == (Without(Bit("status:failed")), EVERYTHING)
    assert around("user:ann queue:a") == (NOTHING, Bit("queue:a"))
    assert around("user:ann OR queue:a") == (Bit("queue:a"), EVERYTHING)
    assert around("-(user:ann queue:a)") == (Without(Bit("queue:a")), EVERYTHING)
    assert around("mnist status:failed") == (NOTHING, Bit("status:failed"))
    assert around("queue:b (queue:a OR status:failed)") == (
        All((Bit("queue:b"), AnyOf((Bit("queue:a"), Bit("status:failed"))))),
    ) * 2  # fmt: skip


def test_values_of_properties_are_numbers_where_they_are_written_so() -> None:
    assert plan("property:lr=1e-3").bits == Valued("property.lr", 0.001, 0.001)
    assert plan("property.tag:a,b").bits == AnyOf((Valued("property.tag", "a", "a"), Valued("property.tag", "b", "b")))
    assert plan("property.size>=10kB").bits == Valued("property.size", 10_000.0)
    assert plan("metric.loss<0.1").bits == Valued("metric.loss", None, 0.1, high_included=False)
    assert around("property.tag~x")[1] == EVERYTHING


def test_ranges_inside_of_something_are_worked_out_for_those_who_read_records() -> None:
    (span,) = plan("queue:a OR started:>-1h").inner.values()
    assert span == Span("started", NOW - 3600 * SECOND + 1, None)
    assert plan("is:stuck").inner.keys()
    assert not plan("started:>-1h").inner


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
    assert is_relative(parse("queue:a OR NOT is:stuck"))
    assert not is_relative(parse("queue:now created:2026-01-01 TO *"))
