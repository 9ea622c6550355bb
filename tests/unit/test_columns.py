"""The columns of lists: which names there are, and what an execution has in each."""

from __future__ import annotations

import json

import pytest

from executions.cli.documents import as_csv, as_json, summaries
from executions.columns import COLUMNS, MOST, SUMMARY, find_column, parse_columns
from executions.errors import InvalidInput
from executions.execution import Code, ErrorInfo, Execution
from executions.states import Reason, Status

ONE = Execution(
    id="x", number=7, function="a.b", status=Status.FAILED, reason=Reason.ERROR, tags=("a", "b"),
    properties={"lr": 0.1, "deep": {"k": [1]}}, latest_metrics={"loss": 0.5},
    error=ErrorInfo("ValueError", "boom"), code=Code(commit="abc"),
)  # fmt: skip


def test_every_column_gives_a_value_of_every_execution() -> None:
    bare = Execution(id="y", number=8, function="a.b", status=Status.PENDING, reason=Reason.QUEUED)
    for column in COLUMNS.values():
        column.value(ONE)
        column.value(bare)
    given = {name: find_column(name).value(ONE) for name in ("error", "commit", "branch", "property:lr", "metric.loss")}
    assert given == {
        "error": "ValueError: boom", "commit": "abc", "branch": None, "property:lr": 0.1, "metric.loss": 0.5,
    }  # fmt: skip
    assert find_column("property.nothing").value(bare) is None


def test_names_are_read_once_each_in_their_order() -> None:
    assert parse_columns(" created, property:lr ,created,, property.lr") == ("created", "property.lr")
    assert parse_columns(["property.my key", "id"]) == ("property.my key", "id")
    assert parse_columns("") == ()
    for odd, said in {
        "statsu": "did you mean 'status'", "property.": "no column", "x" * 200: "at most 150", "Status": "no column",
    }.items():  # fmt: skip
        with pytest.raises(InvalidInput, match=said):
            parse_columns(odd)
    with pytest.raises(InvalidInput, match=f"at most {MOST}"):
        parse_columns([f"property.k{n}" for n in range(MOST + 1)])
    with pytest.raises(InvalidInput, match="commas between"):
        parse_columns(["property.a,b"])


def test_an_export_has_the_columns_that_were_chosen() -> None:
    names = ("property.deep", "tags", "property.lr")
    assert "".join(as_csv(summaries([ONE], names), names)) == 'property.deep,tags,property.lr\n"{""k"":[1]}",a b,0.1\n'
    assert json.loads("".join(as_json(summaries([ONE], names)))) == [
        {"property.deep": {"k": [1]}, "tags": ["a", "b"], "property.lr": 0.1}
    ]
    assert next(as_csv(summaries([ONE]))).splitlines()[0].split(",") == list(SUMMARY)
