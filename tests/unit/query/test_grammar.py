"""The search language: what it understands, what it refuses and how it says so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executions.errors import InvalidQuery
from executions.query import make_plan, parse
from executions.query.fields import BY_WORD, FIELDS, Kind
from executions.query.grammar import MAX_LENGTH, MAX_VALUES
from executions.query.tree import And, Bound, Node, Not, Query, Range, Term
from executions.states import Reason, Status


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("", ""),
        ("   ", ""),
        ("status:failed", "status:failed"),
        ("status:failed AND queue:gpu", "status:failed AND queue:gpu"),
        ("status:failed and queue:gpu", "status:failed AND queue:gpu"),
        ("status:failed queue:gpu", "status:failed AND queue:gpu"),
        ("Status: Completed", "status:success"),
        ("state=In-Progress", "status:running"),
        ("status:failed,aborted,failed", "status:failed,terminated"),
        ("type:fit user:ann task:t.f", "stage:fit AND principal:ann AND function:t.f"),
        ('tag:"a b"', 'tag:"a b"'),
        (r'tag:"say \"hi\" \\ there"', r'tag:"say \"hi\" \\ there"'),
        ('tag:"and",or', 'tag:"and","or"'),
        ("tag:a:b", "tag:a:b"),
        ("-status:failed", "-status:failed"),
        ("NOT status:failed", "-status:failed"),
        ("status!=failed", "-status:failed"),
        ("NOT -status:failed", "status:failed"),
        ("NOT status!=failed", "status:failed"),
        ("created:2026-01-01 TO 2026-01-31", "created:2026-01-01 TO 2026-01-31"),
        ("date:2026-01-01 to 2026-01-31", "created:2026-01-01 TO 2026-01-31"),
        ("created:* TO 2026-01-31", "created:<=2026-01-31"),
        ("created:2026-01-31 TO *", "created:>=2026-01-31"),
        ("created:today", "created:today TO today"),
        ("created:-24h", "created:>=-24h"),
        ("created:-24h TO -1h", "created:-24h TO -1h"),
        ("started:>2026-01-01", "started:>2026-01-01"),
        ("started>=2026-01-01", "started:>=2026-01-01"),
        ('finished:<"2026-01-01 10:00"', 'finished:<"2026-01-01 10:00"'),
        ("duration:>5s", "duration:>5s"),
        ("duration: >= 1h30m", "duration:>=1h30m"),
        ("duration:5s TO 2m", "duration:5s TO 2m"),
        ("reason:worker-lost", "reason:worker-lost"),
    ],
)
def test_what_is_understood(text: str, canonical: str) -> None:
    query = parse(text)
    assert str(query) == canonical
    assert parse(str(query)) == query


@pytest.mark.parametrize(
    ("text", "position", "says"),
    [
        ("stauts:failed", 0, "did you mean 'status'"),
        ("queue:a AND statsu:failed", 12, "did you mean 'status'"),
        ("status:faild", 7, "did you mean 'failed'"),
        ("reason:worker-lots", 7, "did you mean 'worker-lost'"),
        ("queue:a OR queue:b", 8, "OR comes with the full search language"),
        ("(queue:a)", 0, "a parenthesis comes with"),
        ("queue:a (queue:b)", 8, "a parenthesis comes with"),
        ("train", 0, "without a field"),
        ('"two words"', 0, "without a field"),
        ("queue", 0, "write queue:value"),
        ("property:epochs>10", 0, "'property' comes with"),
        ("property.lr:0.1", 0, "'property.lr' comes with"),
        ("author:ann", 0, "'author' comes with"),
        ("is:stuck", 0, "'is' comes with"),
        ("name~x", 4, "~ comes with"),
        ("name:tr*", 5, "inside a value comes with"),
        ("-created:today", 0, "NOT before a range"),
        ("created!=today", 7, "!= comes with"),
        ("duration:5s", 8, "a duration is compared"),
        ("duration:>fast", 10, "a length of time"),
        ("created:soon", 8, "is not a date"),
        ("created:2026-02-30", 8, "is not a date"),
        ("created:>*", 9, "is not a date"),
        ("status:>failed", 6, "has no order"),
        ("status:", 7, "a value must follow status"),
        ("status: AND queue:a", 8, "a value must follow status"),
        ("tag:a,", 6, "a value must follow tag"),
        ("tag:a,,b", 6, "a value must follow tag"),
        ('tag:""', 4, "is empty"),
        ('tag:"open', 4, "the quote is not closed"),
        ("AND queue:a", 0, "AND is out of place"),
        ("queue:a AND", 8, "something must follow AND"),
        ("queue:a AND AND queue:b", 12, "AND is out of place"),
        ("queue:a NOT", 8, "something must follow NOT"),
        ("-", 0, "something must follow NOT"),
        ("created:2026-01-01 TO", 21, "a value must follow created"),
        ("tag:\ud800", 4, "cannot be written as UTF-8"),
        ("x" * (MAX_LENGTH + 1), MAX_LENGTH, "longer than"),
        ("tag:" + ",".join(f"t{n}" for n in range(MAX_VALUES + 1)), None, "at most 50 values"),
    ],
)
def test_what_is_refused_says_where_and_why(text: str, position: int | None, says: str) -> None:
    with pytest.raises(InvalidQuery) as caught:
        parse(text)
    assert says in str(caught.value)
    assert caught.value.position is not None
    if position is not None:
        assert caught.value.position == position


def test_every_alias_leads_to_its_field() -> None:
    for word, field in BY_WORD.items():
        value = {Kind.STATUS: "failed", Kind.REASON: "error", Kind.TIME: "today"}.get(field.kind, "x")
        if field.kind is not Kind.DURATION:
            assert str(parse(f"{word.upper()}:{value}")).startswith(f"{field.name}:")


def test_the_same_query_in_another_order_has_the_same_key() -> None:
    assert parse("queue:a -tag:x,y").key == parse("-tag:y,x AND queue:a queue:a").key
    assert parse("queue:a tag:b").key != parse("queue:b tag:a").key


WORDS = st.text(st.sampled_from('aZ09_-+/@#%.:,"\\()*~<>=! \n\té漢'), min_size=1, max_size=12)
MOMENTS = st.sampled_from(["now", "today", "yesterday", "-24h", "-15min", "2026", "2026-01", "2026-01-31"]) | (
    st.datetimes().map(lambda moment: moment.isoformat(" ", "seconds"))
)
LENGTHS = st.sampled_from(["0s", "5s", "250ms", "1h30m", "1.5d", "12", "3us"])


def _values(name: str) -> st.SearchStrategy[str]:
    kind = FIELDS[name].kind
    if kind is Kind.STATUS:
        return st.sampled_from([status.value for status in Status])
    if kind is Kind.REASON:
        return st.sampled_from([reason.value for reason in Reason if reason.value])
    return WORDS


@st.composite
def terms(draw: st.DrawFn) -> Node:
    name = draw(st.sampled_from([field.name for field in FIELDS.values() if not field.is_range]))
    values = draw(st.lists(_values(name), min_size=1, max_size=3))
    term = Term(name, tuple(sorted(set(values))))
    return Not(term) if draw(st.booleans()) else term


@st.composite
def ranges(draw: st.DrawFn) -> Node:
    name = draw(st.sampled_from([field.name for field in FIELDS.values() if field.is_range]))
    texts = LENGTHS if FIELDS[name].kind is Kind.DURATION else MOMENTS
    kind, inclusive = draw(st.sampled_from(["low", "high", "both"])), draw(st.booleans())
    if kind == "both":
        return Range(name, Bound(draw(texts)), Bound(draw(texts)))
    bound = Bound(draw(texts), inclusive)
    return Range(name, bound, None) if kind == "low" else Range(name, None, bound)


@given(st.lists(terms() | ranges(), max_size=5))
def test_a_tree_that_is_written_is_read_back_as_it_was(items: list[Node]) -> None:
    query = Query(And(tuple(items)))
    assert parse(str(query)) == query
    make_plan(query, 1_700_000_000_000_000)


PIECES = st.sampled_from(
    [
        *("status:", "failed", "created:", "duration:>", "tag:", "property.x", "-", "AND", "NOT", " TO ", " ", ","),
        *("today", "-24h", "5s", "9999-12", "0000-01-01", "-999999w", "!=", ">=", "~", "*", "(", ")", ":"),
        *('"', "\\", "\n", "é"),
    ]
)


@given(st.text(max_size=60) | st.lists(PIECES, max_size=12).map("".join))
def test_whatever_is_typed_is_understood_or_refused(text: str) -> None:
    error = _refusal(text)
    if error is None:
        query = parse(text)
        assert parse(str(query)) == query
        make_plan(query, 1_700_000_000_000_000)
    else:
        assert error.message
        assert error.position is not None
        assert 0 <= error.position <= len(text)


def _refusal(text: str) -> InvalidQuery | None:
    try:
        parse(text)
    except InvalidQuery as error:
        return error
    return None
