"""The list of executions: search, filters, counts, one page of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from executions.client import Client
from executions.clock import to_us
from executions.columns import parse_columns
from executions.errors import InvalidQuery
from executions.execution import Execution
from executions.page import Facet, Page
from executions.query.tree import quote
from executions.server.charts import Run
from executions.server.pages.asked import SIZES, Asked
from executions.server.pages.picked import Picked
from executions.server.pages.search import Search, term
from executions.server.pages.shelf import Shelf
from executions.server.pages.site import PageRoute, redirect, render
from executions.server.pages.words import iso, lasting, now, pace, share, some, status_word, title, took
from executions.server.security.require import Viewing
from executions.states import Status, parse_status
from executions.stats import Period, Seen, Stats, Window, sum_up

router = APIRouter(route_class=PageRoute, include_in_schema=False)

#: Fields beside the list that can be chosen from, and values of each that are shown.
FACETS = ("function", "service", "pipeline", "stage", "branch", "queue", "worker")
_VALUES = 8

#: Ids that one query may name.
_IDS_AT_ONCE = 50

#: The time that the strip above the list sums up.
LATELY = "-24h"

#: Executions that it is estimated from where more match: a list must not wait for its strip.
_SAMPLE = 800


@dataclass(frozen=True)
class Choice:
    """One value that a list can be restricted to."""

    value: str
    count: int
    chosen: bool
    url: str
    about: bool = False


@dataclass(frozen=True)
class Listing:
    """One page of a list with what stands around it."""

    page: Page
    total: int | None
    statuses: tuple[Choice, ...]
    facets: tuple[tuple[str, tuple[Choice, ...], bool], ...]
    note: str = ""
    #: How those that match went lately, where that can be told without reading much.
    stats: Stats | None = None

    @property
    def about(self) -> bool:
        """Whether the total is an estimate."""
        return any(one.about for one in self.statuses)


@router.get("/executions")
def executions(request: Request, client: Viewing) -> Response:
    """Show the list."""
    asked = Asked.of(request, client)
    if "add" in request.query_params:
        more = parse_columns([*asked.columns, *request.query_params.getlist("add")])
        return redirect(request, asked.url(columns=more), pick="1")
    around: dict[str, Any] = {"shelf": Shelf.of(client), "picked": Picked.of(asked, request)}
    try:
        found = _look(client, asked)
    except InvalidQuery as error:
        empty = Listing(Page(()), None, (), ())
        return render(request, "list.html", 422, **_context(asked, empty), **around, wrong=error)
    return render(request, "list.html", **_context(asked, found), **around, wrong=None)


@router.get("/executions/rows")
def rows(request: Request, client: Viewing) -> Response:
    """Give the rows of some executions as they are now, for a page that shows them."""
    ids = request.query_params.get("ids", "").split(",")[: SIZES[-1]]
    asked = Asked.of(request, client)
    found = [
        one for batch in _batches(ids) for one in client.executions.list(term("id", *batch), columns=asked.columns)
    ]
    return render(request, "rows.html", items=found, asked=asked)


@router.get("/executions/suggest")
def suggest(request: Request, client: Viewing) -> Response:
    """Give what the text in the search box may become, given where the cursor is in it."""
    text, at = request.query_params.get("q", ""), request.query_params.get("position", "")
    found = client.executions.suggest(text, int(at) if at.isdecimal() and len(at) < 6 else None)
    whole = [text[: one.start] + one.text + text[one.stop :] for one in found]
    return JSONResponse({"texts": list(dict.fromkeys(whole))})


@router.get("/executions/news")
def news(request: Request, client: Viewing) -> Response:
    """Tell how many match that were created since a list was read, and the counts of now."""
    asked = Asked.read(request.query_params)
    since = request.query_params.get("since", "")
    search = Search.read(asked.q)
    new = client.executions.count(search.and_also(f"created:>{quote(since)}")) if since else 0
    counts = client.executions.facets(search.without("status"), by=("status",), exact=False)["status"]
    return JSONResponse({"new": new, "counts": {status.value: count_of(counts, status) for status in Status}})


def _batches(ids: Sequence[str]) -> list[list[str]]:
    known = [one for one in dict.fromkeys(ids) if one]
    return [known[at : at + _IDS_AT_ONCE] for at in range(0, len(known), _IDS_AT_ONCE)]


def _look(client: Client, asked: Asked) -> Listing:
    page = client.executions.list(
        asked.q or None, sort=asked.sort, limit=asked.limit, cursor=asked.cursor or None, columns=asked.columns
    )
    if page.scanned:
        # Counting would read the records of each count anew, far more of them than the page took.
        return Listing(page, None, (), (), note=_said_of(page))
    search = Search.read(asked.q)
    try:
        counts = client.executions.facets(search.without("status") or None, by=("status",), exact=False)["status"]
        facets = client.executions.facets(asked.q or None, by=FACETS, exact=False)
    except InvalidQuery as error:
        return Listing(page, None, (), (), note=f"No counts: {error.message}.")
    chosen = search.values("status")
    total = sum(count_of(counts, status) for status in counts if not chosen or status in _meant(chosen))
    lately = client.executions.stats(asked.q or None, since=LATELY, step=LATELY[1:], sample=_SAMPLE)
    return Listing(page, total, _statuses(asked, search, counts), _facets(asked, search, facets), stats=lately)


def _said_of(page: Page) -> str:
    """Say how a search went that no index answers."""
    end = "then the work for one page was done; look further below" if page.is_cut else "those that match are shown"
    return f"No index knows all of this search: {some(page.scanned, 'record')} read, {end}. There are no counts for it."


def _meant(values: Sequence[str]) -> set[str]:
    return {parse_status(value).value for value in values}


def _statuses(asked: Asked, search: Search, counts: Facet) -> tuple[Choice, ...]:
    chosen = _meant(search.values("status"))
    total = sum(count_of(counts, status) for status in counts)
    every = Choice("", total, not chosen, asked.url(q=search.without("status")), counts.estimated)
    each = (
        Choice(
            status.value,
            count_of(counts, status),
            status.value in chosen,
            asked.url(q=search.without("status") if chosen == {status.value} else search.only("status", status.value)),
            counts.estimated,
        )
        for status in Status
    )
    return (every, *each)


def _facets(asked: Asked, search: Search, facets: dict[str, Facet]) -> tuple[tuple[str, tuple[Choice, ...], bool], ...]:
    found = []
    for field in FACETS:
        chosen = search.values(field)
        counts = dict(facets[field]) | {value: facets[field].get(value, 0) for value in chosen}
        shown = [value for value in counts if value in chosen]
        shown += [value for value in counts if value not in chosen][: max(0, _VALUES - len(shown))]
        # One value that all have says nothing.
        if chosen or len(counts) > 1 or (counts and field in ("function", "queue")):
            choices = tuple(
                Choice(
                    value,
                    count_of(facets[field], value),
                    value in chosen,
                    asked.url(q=search.toggled(field, value)),
                    facets[field].estimated,
                )
                for value in shown
            )
            found.append((field, choices, len(counts) > len(shown)))
    return tuple(found)


def count_of(facet: Facet, value: str) -> int:
    """Give a count; of an estimate the two digits that it is good for."""
    count = facet.get(value, 0)
    return round(count, 2 - len(str(count))) if facet.estimated else count


def _context(asked: Asked, found: Listing) -> dict[str, Any]:
    items = found.page.items
    newest = items[0].created if items and asked.sort == "-created" and not asked.cursor else now()
    return {
        "asked": asked,
        "found": found,
        "items": items,
        "sizes": SIZES,
        "since": iso(newest),
        "strip": strip_of(items, found.stats),
        "next_url": asked.next(found.page.next_cursor),
        "previous_url": asked.previous(),
    }


@dataclass(frozen=True)
class Strip:
    """The shown executions as bars, and how those that match went."""

    bars: tuple[Run, ...]
    facts: tuple[tuple[str, str], ...]
    #: What the facts are of.
    of: str


def strip_of(items: Sequence[Execution], lately: Stats | None) -> Strip | None:
    """Sum up what matches and ended lately, or else what is shown; nothing where there is too little to say."""
    durations = [one.duration for one in items if one.is_done and one.duration is not None and one.started is not None]
    if len(durations) < 3:
        return None
    longest = max(*durations, 1e-9)
    bars = tuple(
        Run(
            one.id,
            one.status.value,
            min(100.0, max(6.0, 100 * ((one.duration or 0.0) / longest) ** 0.5)),
            f"{title(one)}: {status_word(one.status)} {took(one)}".rstrip(),
        )
        for one in items
    )
    if lately is not None and lately.total.ended:
        word = "ended in 24 h" if lately.complete else "ended in 24 h, about"
        return Strip(bars, _facts(lately.total, is_timed=True), f"{lately.total.ended:,} {word}")
    shown = sum_up(map(_seen, items), _whole(items)).total
    return Strip(bars, _facts(shown, is_timed=False), f"of the {shown.ended} shown that ended")


def _facts(total: Period, *, is_timed: bool) -> tuple[tuple[str, str], ...]:
    spread = total.duration
    lengths = (("p50", lasting(spread.p50)), ("p95", lasting(spread.p95))) if spread else ()
    pace_of = (("throughput", pace(total.throughput)),) if is_timed else ()
    return (("succeeded", share(total.success_rate)), ("failed", share(total.failure_rate)), *lengths, *pace_of)


def _seen(one: Execution) -> Seen:
    created, started, finished = (None if at is None else to_us(at) for at in (one.created, one.started, one.finished))
    return Seen(one.status.value, created or 0, created or 0, started, finished)


def _whole(items: Sequence[Execution]) -> Window:
    """Give the time in which all that is shown has ended."""
    ends = [to_us(one.finished) for one in items if one.finished is not None]
    return Window(min(ends), max(ends) + 1, max(ends) + 1 - min(ends))
