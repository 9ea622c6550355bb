"""What a list was asked for: by its URL, by the view that it names, and by what this browser remembers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote, urlencode

from fastapi import Request

from executions.client import Client
from executions.columns import parse_columns
from executions.errors import InvalidInput
from executions.view import View

SIZES = (25, 50, 100, 500)

#: What a list shows beside status and name of each execution, unless somebody chooses.
COLUMNS = ("number", "pipeline", "commit", "queue", "attempt", "created", "started", "duration")

#: The cookies that remember what somebody chose for all lists.
COLUMNS_COOKIE, LIMIT_COOKIE = "columns", "limit"

#: Pages that "newer" can go back one by one; from further on there is the first page.
_STEPS_BACK = 20


@dataclass(frozen=True)
class Usual:
    """What a list shows where its URL says nothing."""

    q: str = ""
    sort: str = "-created"
    limit: int = 50
    columns: tuple[str, ...] = COLUMNS

    @classmethod
    def of(cls, request: Request) -> Usual:
        """Give what this browser remembers; what it remembers wrongly is as good as nothing."""
        usual = cls()
        try:
            columns = parse_columns(unquote(request.cookies.get(COLUMNS_COOKIE, "")))
            return replace(usual, columns=columns or COLUMNS, limit=_size(request.cookies.get(LIMIT_COOKIE, ""), 50))
        except InvalidInput:
            return usual


@dataclass(frozen=True)
class Asked:
    """What a list was asked for; its URL says the same."""

    q: str = ""
    sort: str = "-created"
    limit: int = 50
    cursor: str = ""
    back: tuple[str, ...] = ()
    columns: tuple[str, ...] = COLUMNS
    view: View | None = None
    usual: Usual = Usual()

    @classmethod
    def of(cls, request: Request, client: Client) -> Asked:
        """Read all that a request says; raises `NotFound` for a view that is not there."""
        name = request.query_params.get("view")
        return cls.read(request.query_params, client.views.get(name) if name else None, Usual.of(request))

    @classmethod
    def read(cls, query: Any, view: View | None = None, usual: Usual = Usual()) -> Asked:
        """Read it from a URL; raises `InvalidInput` for a size or a column that there is not."""
        if view is not None:
            usual = replace(usual, q=view.query, sort=view.sort, columns=view.columns or usual.columns)
        return cls(
            q=query.get("q", usual.q).strip(),
            sort=query.get("sort") or usual.sort,
            limit=_size(query.get("limit", ""), usual.limit),
            cursor=query.get("cursor", ""),
            back=tuple(query.getlist("back"))[-_STEPS_BACK:],
            columns=parse_columns(query.get("columns", "")) or usual.columns,
            view=view,
            usual=usual,
        )

    def url(self, **changes: Any) -> str:
        """Write the URL of this list with something changed; that begins at the first page again."""
        said = replace(self, **{"cursor": "", "back": (), **changes}).parameters()
        return f"/executions?{urlencode(said)}" if said else "/executions"

    def parameters(self, *without: str) -> list[tuple[str, str]]:
        """Give what its URL says: whatever is not usual."""
        usual = self.usual
        said = [("view", self.view.id)] if self.view else []
        said += [("q", self.q)] if self.q != usual.q else []
        said += [("sort", self.sort)] if self.sort != usual.sort else []
        said += [("limit", str(self.limit))] if self.limit != usual.limit else []
        said += [("columns", ",".join(self.columns))] if self.columns != usual.columns else []
        said += [("cursor", self.cursor)] if self.cursor else []
        return [pair for pair in (*said, *(("back", one) for one in self.back)) if pair[0] not in without]

    @property
    def rest(self) -> str:
        """What its URL says besides the query and the place in the list."""
        return urlencode(self.parameters("q", "cursor", "back"))

    @property
    def inside(self) -> str:
        """What the pages of its executions are told, so that they lead on within it and back to it."""
        return urlencode([("in", self.q), *([("at", self.rest)] if self.rest else [])])

    @property
    def is_changed(self) -> bool:
        """Whether it shows something else than its view does."""
        seen = (self.q, self.sort, self.columns)
        return self.view is not None and seen != (self.usual.q, self.usual.sort, self.usual.columns)

    @property
    def export(self) -> str:
        """The columns of an export: those of the list behind what tells executions apart; all where none are chosen."""
        if self.columns == COLUMNS:
            return ""
        return ",".join(dict.fromkeys(("id", "name", "function", "status", *self.columns)))

    def next(self, cursor: str | None) -> str:
        """Write the URL of the next page."""
        return self.url(cursor=cursor, back=(*self.back, self.cursor or "-")) if cursor else ""

    def previous(self) -> str:
        """Write the URL of the page before; of the first one where the way back is not known any more."""
        if not self.cursor:
            return ""
        last = self.back[-1] if self.back else "-"
        return self.url(cursor="" if last == "-" else last, back=self.back[:-1])

    def sorted_by(self, field: str) -> str:
        """Write the URL of the list sorted by a field; a second time the other way round."""
        return self.url(sort=field if self.sort == f"-{field}" else f"-{field}")


def _size(text: str, usual: int) -> int:
    size = text or str(usual)
    if not size.isdecimal() or len(size) > 3 or not 1 <= int(size) <= SIZES[-1]:
        raise InvalidInput(f"a page has from 1 to {SIZES[-1]} executions, not {size[:20]!r}")
    return int(size)
