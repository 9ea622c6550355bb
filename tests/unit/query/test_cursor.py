"""Cursors: opaque, bound to their query and order, and never trusted."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executions.errors import InvalidQuery
from executions.query import Cursor, Place, Sort, decode_cursor, encode_cursor, parse, parse_sort

QUERY = parse("status:failed queue:gpu")
SORT = Sort("started", True)

PLACES = st.builds(
    Place,
    st.integers(0, 1 << 53),
    st.none() | st.integers(-1, 1 << 53),
    st.none() | st.integers(-(1 << 60), 1 << 60),
)


@given(st.lists(PLACES, min_size=1, max_size=16), st.integers(0, 1 << 53))
def test_a_cursor_is_read_back_as_it_was_written(places: list[Place], now_us: int) -> None:
    cursor = Cursor(tuple(places), now_us)
    assert decode_cursor(encode_cursor(cursor, QUERY, SORT), QUERY, SORT, len(places)) == cursor


def test_a_cursor_of_something_else_is_refused() -> None:
    text = encode_cursor(Cursor((Place(7, 3),), 0), QUERY, SORT)
    decode_cursor(text, parse("queue:gpu AND status:failed"), SORT, 1)
    for query, sort, shards in ((parse("queue:gpu"), SORT, 1), (QUERY, Sort("started", False), 1), (QUERY, SORT, 2)):
        with pytest.raises(InvalidQuery, match="begin again"):
            decode_cursor(text, query, sort, shards)


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(InvalidQuery, match="begin again"):
        decode_cursor(text, QUERY, SORT, 1)


@pytest.mark.parametrize(
    "wire", ["[1,2,[[1e400,0,0]]]", "[" * 5000, "[1,2,[[true,0,0]]]", "[1,2,[[99999999999999999999,0,0]]]"]
)
def test_json_that_is_no_cursor_is_refused(wire: str) -> None:
    with pytest.raises(InvalidQuery, match="begin again"):
        decode_cursor(base64.urlsafe_b64encode(wire.encode()).decode(), QUERY, SORT, 1)


def test_numbers_out_of_bounds_are_refused() -> None:
    text = encode_cursor(Cursor((Place(1 << 62, 3),), 0), QUERY, SORT)
    with pytest.raises(InvalidQuery, match="does not fit"):
        decode_cursor(text, QUERY, SORT, 1)


@pytest.mark.parametrize(
    ("text", "sort"),
    [("created", Sort("created", False)), ("-created", Sort("created", True)), (" +date ", Sort("created", False)),
     ("-Ended", Sort("finished", True)), ("took", Sort("duration", False))],
)  # fmt: skip
def test_sorts(text: str, sort: Sort) -> None:
    assert parse_sort(text) == sort


@pytest.mark.parametrize("text", ["", "-", "--created", "status", "creatd", "-+created", "created desc"])
def test_an_unknown_sort_is_refused(text: str) -> None:
    with pytest.raises(InvalidQuery, match="sort by created, started, finished, duration"):
        parse_sort(text)
