"""How things look on a terminal: words and colours of statuses, times, tables that fit."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from executions.cli.documents import plain, rfc3339
from executions.cli.session import Output
from executions.clock import SYSTEM_CLOCK
from executions.execution import Attempt, Execution, human_duration
from executions.states import Reason, Status

COLOURS = {
    Status.PENDING: "yellow",
    Status.RUNNING: "blue",
    Status.SUCCESS: "green",
    Status.CACHED: "cyan",
    Status.FAILED: "red",
    Status.TERMINATED: "magenta",
}

#: Reasons that say no more than the status does.
_USUAL = {Reason.NONE, Reason.QUEUED, Reason.STARTED, Reason.ERROR, Reason.REQUESTED}

#: Everything that could move the cursor or change the terminal's state.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_TABLE_GAP = 2


@dataclass(frozen=True)
class Column:
    """One column of a table. Without `wide_from` it is always there; else from that width of the terminal on."""

    title: str
    cell: Callable[[Any], Text | str]
    wide_from: int = 0
    right: bool = False
    #: Cut with an ellipsis where the terminal is too narrow; other columns never are.
    cut: bool = False


def safe(text: object) -> str:
    """Make text that somebody else wrote safe to print on a terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(text))


def status_text(execution: Execution | Attempt) -> Text:
    """Write a status by word and colour, with its reason where that says more."""
    words = _words(execution.status, execution.reason)
    if isinstance(execution, Execution) and execution.status is Status.RUNNING and execution.progress:
        words = f"{words} {execution.progress}%"
    return Text(words, style=COLOURS[execution.status])


def entry_text(entry: dict[str, Any]) -> Text:
    """Write the status of an entry of the status log."""
    status, reason = Status(entry["status"]), entry.get("reason") or ""
    return Text(f"{status} ({reason})" if reason else status.value, style=COLOURS[status])


def _words(status: Status, reason: Reason) -> str:
    return status.value if reason in _USUAL else f"{status} ({reason})"


def took(execution: Execution | Attempt) -> str:
    """Write how long it took, or has been running."""
    if execution.duration is not None:
        return human_duration(execution.duration) if execution.started else ""
    if execution.started is None or execution.status is not Status.RUNNING:
        return ""
    return human_duration(max(0.0, SYSTEM_CLOCK.now() - execution.started.timestamp()))


def age(moment: datetime | None) -> str:
    """Write how long ago something was, in one unit."""
    if moment is None:
        return ""
    seconds = max(0, round(SYSTEM_CLOCK.now() - moment.timestamp()))
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def clock_time(moment: datetime | None, out: Output) -> str:
    """Write a time: as the wall clock shows it to people, in RFC 3339 to programs."""
    if moment is None:
        return ""
    if not out.is_terminal:
        return rfc3339(moment)
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def when(moment: datetime | None, out: Output) -> str:
    """Write a time and how long ago that was (or how far ahead it is)."""
    if moment is None:
        return ""
    if not out.is_terminal:
        return rfc3339(moment)
    ahead = moment.timestamp() - SYSTEM_CLOCK.now()
    distance = f"in {human_duration(ahead)}" if ahead > 0 else f"{age(moment)} ago"
    return f"{clock_time(moment, out)} ({distance})"


def value_text(value: Any) -> str:
    """Write a value as JSON, on one line where that is short."""
    text = json.dumps(plain(value), ensure_ascii=False)
    if len(text) > 100 and isinstance(value, dict | list):
        text = json.dumps(plain(value), ensure_ascii=False, indent=2)
    return text


def table(out: Output, columns: Sequence[Column], rows: Iterable[Any], indent: int = 0) -> None:
    """Print a table: fitted to a terminal, else complete, one row a line."""
    listed = list(rows)
    shown = [column for column in columns if out.width >= column.wide_from]
    cells = [[_cell(column, row) for column in shown] for row in listed]
    if out.is_terminal:
        out.print(Padding(_fitted(out.width - indent, shown, cells), (0, 0, 0, indent)))
        return
    for line in _aligned([[Text(column.title) for column in shown], *cells], shown):
        out.print(" " * indent + line, soft_wrap=True)


def _cell(column: Column, row: Any) -> Text:
    found = column.cell(row)
    if isinstance(found, str):
        return Text(safe(found).replace("\n", " "))
    return found


def _fitted(width: int, columns: Sequence[Column], cells: Sequence[Sequence[Text]]) -> Table:
    drawn = Table(box=None, pad_edge=False, padding=(0, _TABLE_GAP, 0, 0), header_style="bold")
    for at, column in enumerate(columns):
        longest = max([len(column.title), *(row[at].cell_len for row in cells)])
        drawn.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=True,
            overflow="ellipsis",
            # Only what may be cut gives way; an id that is cut cannot be copied.
            min_width=None if column.cut else min(longest, width),
        )
    for row in cells:
        drawn.add_row(*row)
    return drawn


def _aligned(rows: Sequence[Sequence[Text]], columns: Sequence[Column]) -> Iterable[str]:
    widths = [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        parts = [
            " " * (width - cell.cell_len) + cell.plain if column.right else cell.plain + " " * (width - cell.cell_len)
            for cell, width, column in zip(row, widths, columns, strict=True)
        ]
        yield (" " * _TABLE_GAP).join(parts).rstrip()


def facts(pairs: Iterable[tuple[str, str | Text | None]]) -> Table:
    """Lay out names and values; what has no value is left out."""
    drawn = Table(box=None, show_header=False, pad_edge=False, padding=(0, _TABLE_GAP, 0, 0))
    drawn.add_column(style="dim", no_wrap=True)
    drawn.add_column(overflow="fold")
    for name, value in pairs:
        if value:
            drawn.add_row(name, Text(safe(value)) if isinstance(value, str) else value)
    return drawn


def heading(title: str) -> Text:
    """Write the title of a section."""
    return Text(f"\n{title}", style="bold")
