"""How things look on a terminal: words and colours of statuses, times, tables that fit."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from executions.cli.documents import plain, rfc3339
from executions.cli.session import Output, Session
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

#: Columns between two columns of a table, and the least that is left of one that is cut.
_GAP = 2
_INDENT = (0, 0, 0, 2)
_NARROWEST = 8


class Cut(Enum):
    """What is left out of a cell that is too long."""

    NEVER = "never"
    #: The end of a name says more than its beginning.
    BEGINNING = "beginning"
    END = "end"


@dataclass(frozen=True)
class Column:
    """One column of a table. It is shown on terminals at least `wide_from` and less than `wide_to` columns wide."""

    title: str
    cell: Callable[[Any], Text | str]
    wide_from: int = 0
    wide_to: int = sys.maxsize
    right: bool = False
    cut: Cut = Cut.NEVER


def safe(text: object) -> str:
    """Make text that somebody else wrote safe to print on a terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(text))


def short_status(execution: Execution) -> Text:
    """Write a status by word and colour."""
    progress = f" {execution.progress}%" if execution.status is Status.RUNNING and execution.progress else ""
    return Text(f"{execution.status}{progress}", style=COLOURS[execution.status])


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
    for line in table_lines(out, columns, rows, indent):
        out.print(line, soft_wrap=True)


def table_lines(out: Output, columns: Sequence[Column], rows: Iterable[Any], indent: int = 0) -> Iterator[Text]:
    """Give the lines of a table, its head first."""
    listed = list(rows)
    fitting = [column for column in columns if column.wide_from <= out.width < column.wide_to]
    drawn = {column: [_cell(column, row) for row in listed] for column in fitting}
    # What is shown where there is room for it is not worth the room when it is empty.
    shown = [column for column in fitting if not column.wide_from or any(drawn[column])]
    cells = list(zip(*(drawn[column] for column in shown), strict=True))
    head = [Text(column.title, style="bold") for column in shown]
    widths = [max(cell.cell_len for cell in column) for column in zip(head, *cells, strict=True)]
    if out.is_terminal:
        widths = _narrowed(widths, shown, out.width - indent)
    for row in (head, *cells):
        line = Text(" " * indent)
        for cell, width, column in zip(row, widths, shown, strict=True):
            line.append_text(_fitted(cell, width, column)).append(" " * _GAP)
        line.rstrip()
        yield line


def listing(
    session: Session,
    columns: Sequence[Column],
    found: Sequence[Any],
    *,
    as_json: bool,
    empty: str,
    document: Callable[[Any], Any] = plain,
) -> None:
    """Print a list: as one JSON document, as a table or, where nothing is in it, what could be done about that."""
    if as_json:
        session.json([document(one) for one in found])
    elif found:
        table(session.out, columns, found)
    else:
        session.hint(empty)


def _cell(column: Column, row: Any) -> Text:
    found = column.cell(row)
    if isinstance(found, str):
        return Text(safe(found).replace("\n", " "))
    return found


def _narrowed(widths: list[int], columns: Sequence[Column], room: int) -> list[int]:
    """Take what is too much from the widest of the columns that may be cut."""
    narrowed = list(widths)
    while sum(narrowed) + _GAP * (len(narrowed) - 1) > room:
        able = [at for at, one in enumerate(columns) if one.cut is not Cut.NEVER and narrowed[at] > _NARROWEST]
        if not able:
            break
        narrowed[max(able, key=narrowed.__getitem__)] -= 1
    return narrowed


def _fitted(cell: Text, width: int, column: Column) -> Text:
    fitted = cell.copy()
    if cell.cell_len > width:
        if column.cut is Cut.BEGINNING:
            fitted = Text("\N{HORIZONTAL ELLIPSIS}") + fitted[len(fitted) - width + 1 :]
        else:
            fitted.truncate(width, overflow="ellipsis")
    space = " " * (width - fitted.cell_len)
    return Text(space) + fitted if column.right else fitted.append(space)


def facts(pairs: Iterable[tuple[str, str | Text | None]]) -> Table:
    """Lay out names and values; what has no value is left out."""
    drawn = Table(box=None, show_header=False, pad_edge=False, padding=(0, _GAP, 0, 0))
    drawn.add_column(style="dim", no_wrap=True)
    drawn.add_column(overflow="fold")
    for name, value in pairs:
        if value:
            drawn.add_row(name, Text(safe(value)) if isinstance(value, str) else value)
    return drawn


def section(session: Session, title: str, part: Table | Text) -> None:
    """Print a part under its title."""
    session.print(Text(f"\n{title}", style="bold"))
    if isinstance(part, Table):
        session.print(Padding(part, _INDENT, expand=False))
        return
    for line in part.split("\n"):
        # Not wrapped here: what is copied from a terminal shall be what was written.
        session.print(Text(" " * _INDENT[3]).append_text(line))
