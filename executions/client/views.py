"""`client.views`: lists kept under a name, for everybody or for oneself, and how many are in them."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from typing import Any

from executions.clock import SYSTEM_CLOCK
from executions.columns import parse_columns
from executions.errors import Changed, Conflict, InvalidInput, NotFound
from executions.parts import Parts
from executions.query import parse, parse_sort
from executions.registry.queries import Queries
from executions.registry.views import ViewShelf
from executions.view import SYSTEM, View

#: Views of one owner, and of all: a list of them is read whole, and looked through by people.
MOST_OF_ONE = 50
MOST = 500

NAME_LONGEST = 80

#: Seconds that a page spends on counting; what is not counted then is counted by a later one.
COUNTING_S = 0.02

#: Times that a write is tried again because somebody else has written another view at the same moment.
_TRIES = 20

_CHANGEABLE = ("name", "query", "sort", "columns", "shared")
_UNKNOWN = "-"

#: Given all views, gives the one to write, or nothing to remove it.
_Decision = Callable[[dict[str, View]], View | None]


class ViewsView:
    """List, get, create, change and remove saved views, in the name of who acts.

    There are those that come with the system, those that are shared, and one's own. A shared view is changed by
    whoever wants to, and made one's own again by its owner only. There are at most 50 of one owner and 500 in all.
    """

    def __init__(self, parts: Parts, queries: Callable[[], Queries]) -> None:
        self._parts = parts
        self._shelf = ViewShelf(parts.space)
        self._queries = queries

    def list(self) -> list[View]:
        """List those that one sees: the system's, then one's own and the shared ones, by name."""
        _, found = self._shelf.read()
        return [*SYSTEM, *sorted(filter(self._is_seen, found.values()), key=lambda view: view.name.casefold())]

    def get(self, name: str) -> View:
        """Give one by its id or its name; of several of a name one's own, then a shared one. Raises `NotFound`."""
        seen = self.list()
        by_id = [view for view in seen if view.id == name]
        by_name = [view for view in seen if view.name.casefold() == name.strip().casefold()]
        by_name.sort(key=lambda view: (view.owner != self._me, view.is_system))
        for view in (*by_id, *by_name):
            return view
        raise NotFound(f"no view {name[:NAME_LONGEST]!r}: it was removed, or it is somebody else's own")

    def create(
        self, name: str, query: str = "", *, sort: str = "-created", columns: Iterable[str] = (), shared: bool = False
    ) -> View:
        """Keep a list under a name; raises `Conflict` where one has a view of this name, or too many."""
        now = round(SYSTEM_CLOCK.now() * 1_000_000)
        made = View(
            id=f"v{secrets.token_hex(4)}", version=1, owner=self._me, updated_by=self._me, **_checked(
                {"name": name, "query": query, "sort": sort, "columns": columns, "shared": shared}
            ),
        )  # fmt: skip
        self._write(made.id, lambda _: made, now)
        return self.get(made.id)

    def change(self, view: View, **changes: Any) -> View:
        """Change `name`, `query`, `sort`, `columns` or `shared`.

        Raises `Changed` where somebody else has changed the view since it was read.
        """
        if unknown := sorted(changes.keys() - set(_CHANGEABLE)):
            raise InvalidInput(f"{unknown[0]} of a view cannot be changed; {', '.join(_CHANGEABLE)} can")
        checked = _checked(changes)

        def decide(there: dict[str, View]) -> View:
            known = self._unchanged(view, there)
            if checked.get("shared", True) is False and known.shared and known.owner != self._me:
                raise Conflict(f"only {known.owner} can make {known.name!r} a view of their own again")
            return replace(known, **checked, version=known.version + 1, updated_by=self._me)

        self._write(view.id, decide, round(SYSTEM_CLOCK.now() * 1_000_000))
        return self.get(view.id)

    def remove(self, view: View) -> None:
        """Remove one; raises `Changed` where somebody else has changed it since it was read."""

        def decide(there: dict[str, View]) -> None:
            self._unchanged(view, there)

        self._write(view.id, decide, 0)

    def counts(self, views: Iterable[View], within: float = 5.0) -> dict[str, int]:
        """Give how many are in each, by id, as of the last minute.

        Those are left out whose number no index tells, or that would take long to count; and what was not counted
        after so many seconds.
        """
        listed = list(views)
        digests = [hashlib.sha256(view.query.encode()).hexdigest()[:24] for view in listed]
        begun, found = SYSTEM_CLOCK.monotonic(), dict[str, int]()
        for view, digest, known in zip(listed, digests, self._shelf.counted(digests), strict=True):
            text = known
            if text is None and SYSTEM_CLOCK.monotonic() - begun < within:
                number = self._count(view)
                text = _UNKNOWN if number is None else str(number)
                self._shelf.keep_count(digest, text)
            if text not in (None, _UNKNOWN):
                found[view.id] = int(text)
        return found

    @property
    def _me(self) -> str:
        return self._parts.settings.principal

    def _is_seen(self, view: View) -> bool:
        return view.shared or view.owner == self._me

    def _count(self, view: View) -> int | None:
        try:
            return self._queries().count_cheaply(view.query or None)
        except InvalidInput:
            return None  # an earlier version could read it

    def _unchanged(self, view: View, there: dict[str, View]) -> View:
        if view.is_system:
            raise InvalidInput(f"{view.name!r} comes with the system and cannot be changed; make a view of your own")
        known = there.get(view.id)
        if known is None or not self._is_seen(known):
            raise NotFound(f"view {view.name!r} is not there any more")
        if known.version != view.version:
            raise Changed(f"{known.updated_by} has changed the view {known.name!r} since you read it; read it again")
        return known

    def _write(self, view_id: str, decide: _Decision, now_us: int) -> None:
        """Write what is decided over all that there is at this very moment."""
        for _ in range(_TRIES):
            revision, there = self._shelf.read()
            view = decide(there)
            if view is not None:
                _check_room(view, there)
            if self._shelf.write(revision, view_id, _fields(view, now_us) if view else None):
                return
        raise Conflict("views are being changed too fast; try again")


def _check_room(view: View, there: dict[str, View]) -> None:
    others = [one for one in there.values() if one.id != view.id]
    theirs = [one for one in others if one.owner == view.owner]
    if any(one.name.casefold() == view.name.casefold() for one in (*theirs, *SYSTEM)):
        raise Conflict(f"there is a view {view.name!r} already; take another name, or change that one")
    if view.id not in there and (len(theirs) >= MOST_OF_ONE or len(others) >= MOST):
        raise Conflict(f"there is room for {MOST_OF_ONE} views of one owner and {MOST} in all; remove one first")


def _checked(given: dict[str, Any]) -> dict[str, Any]:
    found = dict(given)
    if "name" in found:
        found["name"] = " ".join(str(found["name"]).split())
        if not 1 <= len(found["name"]) <= NAME_LONGEST or not found["name"].isprintable():
            raise InvalidInput(f"the name of a view has from 1 to {NAME_LONGEST} characters")
    if "query" in found:
        found["query"] = str(found["query"] or "").strip()
        parse(found["query"] or None)
    if "sort" in found:
        found["sort"] = str(parse_sort(found["sort"]))
    if "columns" in found:
        columns = found["columns"]
        found["columns"] = parse_columns(columns if isinstance(columns, str) else list(columns))
    if "shared" in found:
        found["shared"] = bool(found["shared"])
    return found


def _fields(view: View, now_us: int) -> dict[str, Any]:
    created = now_us if view.created is None else round(view.created.timestamp() * 1_000_000)
    return {**asdict(view), "created": created, "updated": now_us}
