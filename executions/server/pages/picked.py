"""The panel in which the columns of a list are chosen: each step in it is a link, so that it works without scripts."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from executions.columns import COLUMNS as ALL
from executions.columns import find_column
from executions.server.pages.asked import COLUMNS, COLUMNS_COOKIE, LIMIT_COOKIE, Asked

#: What each row shows anyway.
_ALWAYS = ("status", "name")


@dataclass(frozen=True)
class PickedColumn:
    """One column of the list, and where its links lead."""

    name: str
    title: str
    earlier: str
    later: str
    without: str


@dataclass(frozen=True)
class Picked:
    """What the panel shows."""

    columns: tuple[PickedColumn, ...]
    more: tuple[tuple[str, str], ...]
    is_open: bool
    is_usual: bool
    is_remembered: bool
    reset: str

    @classmethod
    def of(cls, asked: Asked, request: Request) -> Picked:
        """Fill it in for a list."""
        names, last = asked.columns, len(asked.columns) - 1
        found = tuple(
            PickedColumn(
                name,
                find_column(name).title,
                _picking(asked, _moved(names, at, at - 1)) if at else "",
                _picking(asked, _moved(names, at, at + 1)) if at < last else "",
                _picking(asked, names[:at] + names[at + 1 :]) if last else "",
            )
            for at, name in enumerate(names)
        )
        rest = tuple((name, one.title) for name, one in ALL.items() if name not in (*names, *_ALWAYS))
        return cls(
            columns=found,
            more=rest,
            is_open="pick" in request.query_params,
            is_usual=names == COLUMNS,
            is_remembered=bool({COLUMNS_COOKIE, LIMIT_COOKIE} & request.cookies.keys()),
            reset=_picking(asked, COLUMNS),
        )


def _moved(names: tuple[str, ...], at: int, to: int) -> tuple[str, ...]:
    rest = [*names[:at], *names[at + 1 :]]
    return (*rest[:to], names[at], *rest[to:])


def _picking(asked: Asked, names: tuple[str, ...]) -> str:
    url = asked.url(columns=names)
    return f"{url}{'&' if '?' in url else '?'}pick=1"
