"""Bitmap algebra against plain sets, without a server: the replies are made here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executions.query.plan import All, AnyOf, Bit, Bits, Ids, Without
from executions.registry import indexes
from executions.registry.indexes import Budget, Loaded, Matches, chunks_of, numbers_in
from executions.registry.keys import shard_keys
from executions.registry.rounds import Steps

TERMS = ("status:failed", "queue:gpu", "tag:a/b")
KNOWN = Ids(("x",))

NUMBERS = st.sets(st.integers(1, 3000), max_size=60)
EXPRESSIONS: st.SearchStrategy[Bits] = st.recursive(
    st.sampled_from([*(Bit(term) for term in TERMS), KNOWN]),
    lambda inner: st.one_of(
        inner.map(Without),
        st.lists(inner, min_size=1, max_size=3).map(lambda items: All(tuple(items))),
        st.lists(inner, min_size=1, max_size=3).map(lambda items: AnyOf(tuple(items))),
    ),
    max_leaves=6,
)


class Pipeline:
    """Answers HMGET from bitmaps, as the server keeps them: without zero bytes at their ends."""

    def __init__(self, sets: dict[str, set[int]]) -> None:
        self.fields = {
            f"{term}/{chunk}": bitmap.rstrip(b"\0") for term, numbers in sets.items()
            for chunk, bitmap in chunks_of(numbers).items()
        }  # fmt: skip

    def hmget(self, _: str, fields: Iterable[str]) -> list[bytes | None]:
        return [self.fields.get(field) for field in fields]


def drive(steps: Steps[None], pipeline: Pipeline) -> None:
    replies: Any = None
    while True:
        try:
            asks = steps.send(replies)
        except StopIteration:
            return
        replies = [ask(pipeline) for ask in asks]


def wanted(bits: Bits, sets: dict[str, set[int]], known: set[int]) -> set[int]:
    match bits:
        case Bit():
            return sets[bits.term]
        case All():
            return set.intersection(*(wanted(item, sets, known) for item in bits.items))
        case AnyOf():
            return set().union(*(wanted(item, sets, known) for item in bits.items))
        case Without():
            return sets["*"] - wanted(bits.item, sets, known)
    return known


@pytest.mark.parametrize("at_once", [1, 7, 4096])
@given(bits=EXPRESSIONS, data=st.data())
def test_bitmaps_are_combined_as_sets_are(at_once: int, bits: Bits, data: st.DataObject) -> None:
    sets = {term: data.draw(NUMBERS) for term in TERMS}
    known = data.draw(NUMBERS)
    sets["*"] = set().union(known, *sets.values(), data.draw(NUMBERS))
    low, high = sorted((data.draw(st.integers(0, 3100)), data.draw(st.integers(0, 3100))))
    leaves: dict[Bits, Loaded] = {KNOWN: Loaded(chunks_of(known))}
    matches = Matches(shard_keys("t", 0), bits, leaves, (low, high), Budget(10**9))
    before, indexes.FIELDS_AT_ONCE = indexes.FIELDS_AT_ONCE, at_once
    try:
        drive(matches.load_all(), Pipeline(sets))
    finally:
        indexes.FIELDS_AT_ONCE = before
    expected = sorted(number for number in wanted(bits, sets, known) if low <= number <= high)
    assert matches.numbers() == expected
    assert matches.count() == len(expected)
    some = data.draw(st.lists(st.integers(low, high), max_size=20))
    assert matches.among(some) == [number for number in some if number in set(expected)]


@given(NUMBERS, NUMBERS)
def test_numbers_can_be_taken_out_and_kept(numbers: set[int], others: set[int]) -> None:
    matches = Matches(shard_keys("t", 0), None, {}, (0, 3000), Budget(10**9))
    drive(matches.load_all(), Pipeline({"*": numbers}))
    matches.drop(others)
    assert matches.numbers() == sorted(numbers - others)
    matches.keep(chunks_of(number for number in numbers if number % 2))
    assert matches.numbers() == sorted(number for number in numbers - others if number % 2)


@given(NUMBERS)
def test_chunks_hold_the_numbers_they_were_made_of(numbers: set[int]) -> None:
    assert [n for chunk, bitmap in sorted(chunks_of(numbers).items()) for n in numbers_in(chunk, bitmap)] == sorted(
        numbers
    )
