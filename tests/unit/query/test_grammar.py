"""The search language: what it understands, what it refuses and how it says so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executions.errors import InvalidQuery
from executions.query import make_plan, parse
from executions.query.conditions import CONDITIONS
from executions.query.fields import BY_WORD, FIELDS, Kind, Match
from executions.query.scanner import MAX_DEPTH, MAX_LENGTH, MAX_VALUES
from executions.query.tree import And, Bound, Has, Node, Query, Range, Term, Word, all_of, any_of, negated
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
        ("queue:a OR queue:b", "queue:a OR queue:b"),
        ("queue:a or queue:b status:failed", "queue:a OR (queue:b AND status:failed)"),
        ("(queue:a OR queue:b) status:failed", "(queue:a OR queue:b) AND status:failed"),
        ("((queue:a) (tag:b AND (tag:c)))", "queue:a AND tag:b AND tag:c"),
        ("NOT (queue:a tag:b)", "NOT (queue:a AND tag:b)"),
        ("-(queue:a)", "-queue:a"),
        ("NOT(queue:a OR tag:b)", "NOT (queue:a OR tag:b)"),
        ("-created:today", "-created:today TO today"),
        ("created!=today", "-created:today TO today"),
        ("train", "train"),
        ('"two words" mnist*', '"two words" AND mnist'),
        ("-train.py", "-train.py"),
        ('"queue" "and"', '"queue" AND "and"'),
        ("019a0000-0000-7000-8000-00000000abcd", "id:019a0000-0000-7000-8000-00000000abcd"),
        ('"019a0000-0000-7000-8000-00000000abcd"', '"019a0000-0000-7000-8000-00000000abcd"'),
        ("name:tr*", "name:tr*"),
        ('name:"night run"*,b', 'name:b OR name:"night run"*'),
        ('name:"tr*"', 'name:"tr*"'),
        ("name:*", "has:name"),
        ("pipeline:mnist", "pipeline:mnist*"),
        ("pipeline=mnist", "pipeline=mnist"),
        ("commit:a3f9e2b7", "commit:a3f9e2b7*"),
        ("name~night", "name~night"),
        ("error:ValueError", "error~ValueError"),
        ("error=ValueError", "error=ValueError"),
        ("has:worker,tags", "has:worker OR has:tag"),
        ("has:property.lr -has:metric.loss", "has:property.lr AND -has:metric.loss"),
        ("is:stuck,cached", "is:cached,stuck"),
        ("attempt>1", "attempt:>1"),
        ("attempt:2", "attempt:2 TO 2"),
        ("property:learning_rate=0.001", "property.learning_rate:0.001"),
        ("property.lr:0.001 TO 1e-2", "property.lr:0.001 TO 1e-2"),
        ("property:epochs>10", "property.epochs:>10"),
        ("property.size<=10MB", "property.size:<=10MB"),
        ("property:epochs", "has:property.epochs"),
        ('property."my key"!=x', '-property."my key":x'),
        ('property:"my key":x*', 'property."my key":x*'),
        ("property.tag:production,staging", "property.tag:production,staging"),
        ("metric.loss<0.1", "metric.loss:<0.1"),
        ("metrics.loss=0.1", "metric.loss:0.1 TO 0.1"),
        ("metric.seconds:1m TO *", "metric.seconds:>=1m"),
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
        ("queue:a OR", 8, "something must follow OR"),
        ("OR queue:a", 0, "OR is out of place"),
        ("queue:a OR OR queue:b", 11, "OR is out of place"),
        ("(queue:a", 0, "not closed"),
        ("queue:a)", 7, "was not opened"),
        ("tag:x ()", 6, "nothing between"),
        ("tag:x OR )", 6, "something must follow OR"),
        ("-(", 1, "nothing between"),
        ("(" * (MAX_DEPTH + 1) + "tag:a" + ")" * (MAX_DEPTH + 1), MAX_DEPTH, "nested 20 deep"),
        ("a, b", 0, "belongs to no field"),
        (", b", 0, "should stand here"),
        ("tag:a b <5", 8, "belongs to no field"),
        ("tr*in", 0, "at the end only"),
        ("queue", 0, "write queue:value"),
        ("http://x", 0, "quote it to look for the text"),
        ("property>10", 0, "needs a key"),
        ("property:>10", 0, "needs a key"),
        ("metric.loss:low", 12, "is not a number"),
        ("property.lr:0.1 TO high", 19, "two numbers or two texts"),
        ("property.lr:a* TO b", 12, "stands alone"),
        ("log:oops", 0, "one execution at a time"),
        ("output:x", 0, "are not searched"),
        ("author:ann", 0, "commit and branch"),
        ("is:stcuk", 3, "did you mean 'stuck'"),
        ("has:wroker", 4, "did you mean 'worker'"),
        ("has", 0, "has is a field"),
        ("has:", 4, "must follow has:"),
        ("has:is", 4, "stands for itself"),
        ("status~fail", 6, "is none"),
        ("status:fail*", 7, "unknown status"),
        ("name:t*r", 5, "at the end only"),
        ("attempt:two", 8, "not a whole number"),
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
        value = {
            Kind.STATUS: "failed", Kind.REASON: "error", Kind.TIME: "today", Kind.CONDITION: "done",
            Kind.DURATION: "<5s", Kind.NUMBER: "1", Kind.PROPERTY: "k>1", Kind.METRIC: "k>1",
        }.get(field.kind, "x")  # fmt: skip
        assert str(parse(f"{word.upper()}:{value}")).startswith(field.name)


def test_the_same_query_in_another_order_has_the_same_key() -> None:
    assert parse("queue:a -tag:x,y").key == parse("-tag:y,x AND queue:a queue:a").key
    assert parse("queue:a tag:b").key != parse("queue:b tag:a").key


WORDS = st.text(st.sampled_from('aZ09_-+/@#%.:,"\\()*~<>=! \n\té漢'), min_size=1, max_size=12)
MOMENTS = st.sampled_from(["now", "today", "yesterday", "-24h", "-15min", "2026", "2026-01", "2026-01-31"]) | (
    st.datetimes().map(lambda moment: moment.isoformat(" ", "seconds"))
)
LENGTHS = st.sampled_from(["0s", "5s", "250ms", "1h30m", "1.5d", "12", "3us"])
NUMBERS = st.sampled_from(["0", "-1.5", "1e-3", "10MB", "5m"])
PLAIN = [field.name for field in FIELDS.values() if not field.is_range and not field.is_keyed]
KEYED = st.sampled_from(["property", "metric"])


def _values(name: str) -> st.SearchStrategy[str]:
    match FIELDS[name.partition(".")[0]].kind:
        case Kind.STATUS:
            return st.sampled_from([status.value for status in Status])
        case Kind.REASON:
            return st.sampled_from([reason.value for reason in Reason if reason.value])
        case Kind.CONDITION:
            return st.sampled_from(list(CONDITIONS))
    return WORDS


@st.composite
def names(draw: st.DrawFn, words: st.SearchStrategy[str]) -> str:
    name = draw(words)
    return f"{name}.{draw(WORDS)}" if FIELDS[name].is_keyed else name


@st.composite
def terms(draw: st.DrawFn) -> Node:
    name = draw(names(st.sampled_from([*PLAIN, "property"])))
    values = draw(st.lists(_values(name), min_size=1, max_size=3))
    is_text = FIELDS[name.partition(".")[0]].kind in (Kind.WORD, Kind.PROPERTY)
    return Term(name, tuple(sorted(set(values))), draw(st.sampled_from(list(Match))) if is_text else Match.IS)


@st.composite
def ranges(draw: st.DrawFn) -> Node:
    name = draw(names(st.sampled_from([field.name for field in FIELDS.values() if field.is_range or field.is_keyed])))
    texts = {Kind.DURATION: LENGTHS, Kind.TIME: MOMENTS, Kind.NUMBER: st.sampled_from(["0", "12"])}.get(
        FIELDS[name.partition(".")[0]].kind, NUMBERS
    )
    kind, inclusive = draw(st.sampled_from(["low", "high", "both"])), draw(st.booleans())
    if kind == "both":
        return Range(name, Bound(draw(texts)), Bound(draw(texts)))
    bound = Bound(draw(texts), inclusive)
    return Range(name, bound, None) if kind == "low" else Range(name, None, bound)


LEAVES = terms() | ranges() | WORDS.map(Word) | names(st.sampled_from([f for f in FIELDS if f != "is"])).map(Has)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        inner.map(negated)
        | st.lists(inner, min_size=1, max_size=3).map(all_of)
        | st.lists(inner, min_size=1, max_size=3).map(any_of)
    ),
    max_leaves=8,
)


@given(TREES)
def test_a_tree_that_is_written_is_read_back_as_it_was(node: Node) -> None:
    query = Query(node if isinstance(node, And) else And((node,)))
    assert parse(str(query)) == query
    make_plan(query, 1_700_000_000_000_000)


PIECES = st.sampled_from(
    [
        *("status:", "failed", "created:", "duration:>", "tag:", "property.x", "-", "AND", "NOT", " TO ", " ", ","),
        *("today", "-24h", "5s", "9999-12", "0000-01-01", "-999999w", "!=", ">=", "~", "*", "(", ")", ":"),
        *('"', "\\", "\n", "é", " OR ", "property:", "metric.loss", "has:", "is:", "10MB", "name~", "train"),
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
