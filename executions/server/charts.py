"""Charts as SVG that the server draws: they need no script, colours come from the sheet by class, in either theme.

Each has a title and a description for who cannot see it, and a table with the same numbers for who wants them. Widths
are stretched to their place, so nothing in a drawing is text, and what a status looks like is told by shapes that
survive that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

#: Units of a drawing: its height, the distance of two columns, the width of one.
_HIGH = 100
_PITCH = 8
_WIDE = 6

#: Columns that a drawing has room for at least, so that three executions are not three walls.
_ROOM = 40


@dataclass(frozen=True)
class Series:
    """One row of numbers: what it is called, the class of its colour, a value for each column or nothing."""

    word: str
    tone: str
    values: Sequence[float | None]


@dataclass(frozen=True)
class Chart:
    """What a chart shows: columns with a label each, series over them, and how a value is written."""

    name: str
    title: str
    about: str
    labels: Sequence[str]
    series: Sequence[Series]
    unit: str = ""
    #: What stands beside the title: all of it in one number. Without it, how high the chart is.
    total: str = ""

    def written(self, value: float | None) -> str:
        """Write a value as its table does."""
        if value is None:
            return "-"
        return f"{value:.1%}" if self.unit == "%" else f"{value:,.4g}" if value % 1 else f"{value:,.0f}"


@dataclass(frozen=True)
class Run:
    """One execution as a bar: how high, of 100, and what it says."""

    id: str
    status: str
    high: float
    says: str


def stacked(chart: Chart) -> Markup:
    """Draw columns of parts on top of each other."""
    sums = [sum(one.values[at] or 0 for one in chart.series) for at in range(len(chart.labels))]
    most = max(sums, default=0)
    drawn = []
    for at, label in enumerate(chart.labels):
        parts, top = [], 0.0
        for one in chart.series:
            high = _HIGH * (one.values[at] or 0) / most if most else 0
            if high:
                top += high
                parts.append(_rect(one.tone, at * _PITCH, _HIGH - top, high))
        said = ", ".join(f"{chart.written(one.values[at])} {one.word}" for one in chart.series if one.values[at])
        drawn.append(_group(f"{label}: {said or 'none'}", at, "".join(parts)))
    return _figure(chart, "".join(drawn), chart.written(most))


def area(chart: Chart) -> Markup:
    """Draw lines, with what lies below the first one filled; a share has the whole as its top."""
    values = [value for one in chart.series for value in one.values if value is not None]
    most = 1.0 if chart.unit == "%" else max(values, default=0)
    drawn = []
    for order, one in enumerate(chart.series):
        for stretch in _stretches(one.values):
            points = [(at * _PITCH + _PITCH / 2, _HIGH - _HIGH * value / (most or 1)) for at, value in stretch]
            # A lone value is a short line: a point would not be seen.
            ends = points if len(points) > 1 else [(points[0][0] - 3, points[0][1]), (points[0][0] + 3, points[0][1])]
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in ends)
            if order == 0:
                drawn.append(
                    f'<polygon class="{one.tone}" points="{ends[0][0]:.1f},{_HIGH} {line} {ends[-1][0]:.1f},{_HIGH}"/>'
                )
            drawn.append(f'<polyline class="{one.tone}" points="{line}"/>')
    for at, label in enumerate(chart.labels):
        said = ", ".join(f"{chart.written(one.values[at])} {one.word}" for one in chart.series)
        drawn.append(_group(f"{label}: {said}", at, ""))
    return _figure(chart, "".join(drawn), chart.written(most))


def runs(items: Sequence[Run], before: str, after: str) -> Markup:
    """Draw one bar for each execution, which leads to it; its address is the id between two texts."""
    bars = "".join(
        f'<a href="{escape(before)}{escape(one.id)}{escape(after)}" tabindex="-1">'
        f"{_group(one.says, at, _shape(one, at * _PITCH))}</a>"
        for at, one in enumerate(items)
    )
    return Markup(
        f'<svg class="runs-chart" viewBox="0 0 {max(len(items), _ROOM) * _PITCH} {_HIGH}" preserveAspectRatio="none" '
        'role="img" aria-labelledby="runs-title runs-about"><title id="runs-title">The executions shown</title>'
        f'<desc id="runs-about">{len(items)} bars in the order of the list below, which has the same numbers: '
        f"as high as it took, in the colour and shape of the status.</desc>{bars}</svg>"
    )


def _shape(run: Run, x: float) -> str:
    """Draw a bar that tells its status without its colour as well."""
    y, high = _HIGH - run.high, run.high
    match run.status:
        case "failed":  # in two parts
            foot = min(high / 3, 12)
            parts = _rect("b-failed", x, y, high - foot - 4) + _rect("b-failed", x, _HIGH - foot, foot)
            return parts if high - foot > 5 else _rect("b-failed", x, y, high)
        case "terminated":  # hollow
            inner = f"M{x + 1.5} {y + 4}v{max(high - 8, 0):.1f}h3v-{max(high - 8, 0):.1f}z"
            return f'<path class="b-terminated" fill-rule="evenodd" d="M{x} {y:.1f}h6V{_HIGH}h-6z{inner}"/>'
        case "cached":  # half as wide
            return _rect("b-cached", x + 1.5, y, high, 3)
        case "running":  # open above
            return f'<path class="b-running" d="M{x} {y:.1f}h1.5V{_HIGH - 6}h3V{y:.1f}h1.5V{_HIGH}h-6z"/>'
        case "pending":  # a line
            return _rect("b-wait", x, _HIGH - 4, 4)
    return _rect("b-success", x, y, high)


def _rect(tone: str, x: float, y: float, high: float, wide: float = _WIDE) -> str:
    return f'<rect class="{tone}" x="{x:g}" y="{y:.1f}" width="{wide:g}" height="{high:.1f}"/>'


def _group(says: str, at: int, inside: str) -> str:
    hit = f'<rect class="hit" x="{at * _PITCH}" y="0" width="{_PITCH}" height="{_HIGH}"/>'
    return f"<g>{inside}<title>{escape(says)}</title>{hit}</g>"


def _stretches(values: Iterable[float | None]) -> list[list[tuple[int, float]]]:
    """Cut a row of values where some are missing."""
    found: list[list[tuple[int, float]]] = [[]]
    for at, value in enumerate(values):
        if value is not None:
            found[-1].append((at, value))
        elif found[-1]:
            found.append([])
    return [stretch for stretch in found if stretch]


def _figure(chart: Chart, drawn: str, most: str) -> Markup:
    name, title, beside = escape(chart.name), escape(chart.title), escape(chart.total or f"{most} at most")
    legend = "".join(f'<li class="{one.tone}-key">{escape(one.word)}</li>' for one in chart.series)
    ends = f"<span>{escape(chart.labels[0])}</span><span>{escape(chart.labels[-1])}</span>" if chart.labels else ""
    return Markup(
        f'<figure class="chart"><figcaption>{title}<ul>{legend}</ul><span class="dim num">{beside}</span>'
        "</figcaption>"
        f'<svg viewBox="0 0 {max(1, len(chart.labels)) * _PITCH} {_HIGH}" preserveAspectRatio="none" role="img" '
        f'aria-labelledby="{name}-title {name}-about"><title id="{name}-title">{title}</title>'
        f'<desc id="{name}-about">{escape(chart.about)}</desc>{drawn}</svg><p class="ends dim num">{ends}</p>'
        f"<details><summary>Show as table</summary>{_table(chart)}</details></figure>"
    )


def _table(chart: Chart) -> str:
    head = "".join(f'<th scope="col" class="num">{escape(one.word)}</th>' for one in chart.series)
    rows = "".join(
        f'<tr><th scope="row">{escape(label)}</th>'
        + "".join(f'<td class="num">{chart.written(one.values[at])}</td>' for one in chart.series)
        + "</tr>"
        for at, label in enumerate(chart.labels)
    )
    return (
        f'<div class="scroll"><table class="plain"><thead><tr><th scope="col">Since</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )
