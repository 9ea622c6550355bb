"""The columns of a list: one set of names for the page, the command line, exports and views."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from operator import attrgetter
from typing import Any

from executions.errors import InvalidInput
from executions.execution import Execution
from executions.lazy import lazy
from executions.query.fields import suggest

#: Columns of one list, and characters of the name of one.
MOST = 40
LONGEST = 150

#: What is kept under names that functions choose, and how these are written.
_KEYED = re.compile(r"(property|metric)[.:](.+)", re.DOTALL)


class Kind(Enum):
    """What the values of a column are."""

    TEXT = "text"
    NUMBER = "number"
    SECONDS = "seconds"
    TIME = "time"
    WORDS = "words"
    #: Whatever a function has put there.
    ANY = "any"


@dataclass(frozen=True)
class Column:
    """One column."""

    name: str
    #: What stands above it; of properties and metrics the key.
    title: str
    kind: Kind = Kind.TEXT
    #: Reads it where it is no attribute.
    read: Callable[[Execution], Any] | None = None

    @lazy
    def value(self) -> Callable[[Execution], Any]:
        """What gives the value of an execution; `None` for nothing."""
        return self.read or attrgetter(self.name)


_ALL = (
    Column("id", "Id"),
    Column("number", "No.", Kind.NUMBER),
    Column("name", "Name"),
    Column("function", "Function"),
    Column("service", "Service"),
    Column("pipeline", "Pipeline"),
    Column("stage", "Stage"),
    Column("queue", "Queue"),
    Column("status", "Status"),
    Column("reason", "Reason"),
    Column("message", "Message"),
    Column("attempt", "Try", Kind.NUMBER),
    Column("progress", "Progress", Kind.NUMBER),
    Column("worker", "Worker"),
    Column("principal", "Submitted by"),
    Column("parent_id", "Parent"),
    Column("root_id", "Root"),
    Column("reference", "Relaunch of"),
    Column("created", "Created", Kind.TIME),
    Column("queued", "Queued", Kind.TIME),
    Column("started", "Started", Kind.TIME),
    Column("finished", "Ended", Kind.TIME),
    Column("duration", "Took", Kind.SECONDS),
    Column("tags", "Tags", Kind.WORDS),
    Column("to_terminate", "Asked to stop"),
    Column("note_count", "Notes", Kind.NUMBER),
    Column("error", "Error", read=lambda e: e.error and f"{e.error.type}: {e.error.message}"),
    Column("commit", "Commit", read=lambda e: e.code and e.code.commit),
    Column("branch", "Branch", read=lambda e: e.code and e.code.branch),
    Column("eta", "Not before", Kind.TIME),
    Column("expires", "Not after", Kind.TIME),
    Column("service_version", "Policy version", Kind.NUMBER),
    Column("max_attempts", "Attempts", Kind.NUMBER),
    Column("execution_timeout", "Time limit", Kind.SECONDS),
    Column("pool", "Pool"),
    Column("pid", "Process", Kind.NUMBER),
)

#: The columns that every execution has, by name. Besides there are `property.<key>` and `metric.<name>`.
COLUMNS: dict[str, Column] = {column.name: column for column in _ALL}

#: What a list tells of each execution where nobody chooses, in this order.
SUMMARY = tuple(COLUMNS)[: tuple(COLUMNS).index("error")]


@lru_cache(maxsize=1000)
def find_column(name: str) -> Column:
    """Give the column of a name; raises `InvalidInput` where there is none."""
    name = name.strip()
    if len(name) > LONGEST:
        raise InvalidInput(f"the name of a column has at most {LONGEST} characters")
    keyed = _KEYED.fullmatch(name)
    if keyed:
        source, key = ("properties" if keyed[1] == "property" else "latest_metrics"), keyed[2]
        return Column(f"{keyed[1]}.{key}", key, Kind.ANY, lambda e: getattr(e, source).get(key))
    if name not in COLUMNS:
        more = "property.<key>, metric.<name>"
        raise InvalidInput(f"no column {name!r}{suggest(name, list(COLUMNS))}; there are: {', '.join(COLUMNS)}, {more}")
    return COLUMNS[name]


def parse_columns(given: str | Sequence[str]) -> tuple[str, ...]:
    """Read names of columns, one text with commas between or several; each once, in their order."""
    names = given.split(",") if isinstance(given, str) else given
    found = tuple(dict.fromkeys(find_column(str(name)).name for name in names if str(name).strip()))
    if len(found) > MOST:
        raise InvalidInput(f"a list has at most {MOST} columns, not {len(found)}")
    for name in found:
        if "," in name:
            raise InvalidInput(f"columns are written with commas between, so {name!r} cannot be one")
    return found
