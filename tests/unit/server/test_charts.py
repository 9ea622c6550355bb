"""Charts say with shapes, titles and tables what they say with colours, and let nothing out of its place."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree as Xml

from executions.server import charts
from executions.server.charts import Chart, Run, Series

CHART = Chart(
    "ended", "Ended <each> hour", "All & more.", ["10:00", "11:00", "12:00"],
    [Series("completed", "b-success", [3, 0, 1]), Series("failed", "b-failed", [1, 0, 1])],
)  # fmt: skip


def parsed(drawn: str) -> Xml.Element:
    return Xml.fromstring(drawn)


def test_parts_stand_on_each_other_and_the_highest_column_fills_the_height() -> None:
    found = parsed(charts.stacked(CHART))
    bars = [one for one in found.iter("rect") if one.get("class") != "hit"]
    sizes = [(one.get("class"), one.get("x"), one.get("y"), one.get("height")) for one in bars]
    assert sizes == [
        ("b-success", "0", "25.0", "75.0"), ("b-failed", "0", "0.0", "25.0"),
        ("b-success", "16", "75.0", "25.0"), ("b-failed", "16", "50.0", "25.0"),
    ]  # fmt: skip
    assert [one.text for one in found.iter("title")][1:] == [
        "10:00: 3 completed, 1 failed", "11:00: none", "12:00: 1 completed, 1 failed",
    ]  # fmt: skip


def test_a_chart_has_a_name_a_description_and_a_table_of_the_same_numbers() -> None:
    found = parsed(charts.stacked(CHART))
    drawing = found.find("svg")
    assert drawing is not None
    assert drawing.get("role") == "img"
    ids = {one.get("id"): one.text for one in drawing.iter() if one.get("id")}
    assert [ids[name] for name in (drawing.get("aria-labelledby") or "").split()] == [
        "Ended <each> hour",
        "All & more.",
    ]
    rows = [[cell.text for cell in row] for row in found.iter("tr")]
    assert rows == [
        ["Since", "completed", "failed"], ["10:00", "3", "1"], ["11:00", "0", "0"], ["12:00", "1", "1"],
    ]  # fmt: skip


def test_a_share_is_drawn_against_the_whole_and_interrupted_where_nothing_is_known() -> None:
    share = Chart("s", "Success", "", ["a", "b", "c", "d"], [Series("good", "b-success", [0.5, 1.0, None, 0.25])], "%")
    found = parsed(charts.area(replace(share, total="58% in all")))
    assert [one.text for one in found.iter("span")][:1] == ["58% in all"]  # ... and not how high the chart is
    assert [one.get("points") for one in found.iter("polyline")] == ["4.0,50.0 12.0,0.0", "25.0,75.0 31.0,75.0"]
    assert [row[1].text for row in found.iter("tr")][1:] == ["50.0%", "100.0%", "-", "25.0%"]


def test_each_run_leads_to_its_execution_and_has_a_shape_of_its_status() -> None:
    statuses = ("success", "cached", "failed", "terminated", "running", "pending")
    items = [Run(f"id&{status}", status, 50.0, f"add: {status}") for status in statuses]
    found = parsed(charts.runs(items, "/x/executions/", "?in=a%3Ab"))
    links = list(found.iter("a"))
    assert [one.get("href") for one in links] == [f"/x/executions/id&{status}?in=a%3Ab" for status in statuses]
    # Without the colours, and without where it stands, no two are drawn alike
    drawn = [re.sub(r' class="[^"]*"', "", Xml.tostring(charts_at_zero(one), "unicode")) for one in statuses]
    assert len(set(drawn)) == len(statuses)


def charts_at_zero(status: str) -> Xml.Element:
    (group,) = parsed(charts.runs([Run("x", status, 50.0, "")], "", "")).iter("g")
    return group


def test_nothing_to_draw_is_drawn_as_nothing() -> None:
    empty = Chart("n", "Nothing", "", [], [Series("ended", "b-success", [])])
    for drawn in (charts.stacked(empty), charts.area(empty), charts.runs([], "", "")):
        assert parsed(drawn) is not None
    assert "style=" not in charts.stacked(CHART)
