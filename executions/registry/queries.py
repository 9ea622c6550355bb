"""Every question about executions: page, count, facets, and those of `Lookup`. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from executions.clock import to_us
from executions.errors import InvalidInput
from executions.execution import Execution
from executions.page import Count, Facet, Page
from executions.query import (
    Cursor,
    Place,
    Plan,
    Query,
    Sort,
    Suggestion,
    decode_cursor,
    encode_cursor,
    is_relative,
    make_plan,
    parse,
    parse_sort,
    suggestions,
)
from executions.query.fields import FIELDS
from executions.query.plan import RECORDS, leaves_of
from executions.query.times import read_length, read_moment
from executions.registry import facets
from executions.registry.connection import translated
from executions.registry.facets import Part
from executions.registry.indexes import Budget
from executions.registry.keys import ShardKeys
from executions.registry.lookup import Lookup
from executions.registry.pages import Lane, merge
from executions.registry.rounds import Steps, run
from executions.registry.rows import (
    add_point,
    raw_record,
    text,
)
from executions.registry.sampling import RECORDS as RECORDS_OF_STATS
from executions.registry.sampling import look
from executions.registry.selection import Selection, open_selection
from executions.registry.subjects import codes_of_columns
from executions.registry.values import read_names
from executions.registry.walks import begin_walk
from executions.stats import Stats, Window, sum_up

#: Largest page.
MAX_LIMIT = 500

#: What may be read for one page, counted in bitmap chunks (about a microsecond each; scores and records count for
#: several); and the least of it for one shard. More would find more, but a page should never take long.
_PAGE_WORK = 14_000
_SHARD_WORK = 3_000

#: Records that are looked at to count matches in what has no index, over all shards, and the least of one shard.
CHECKED_AT_MOST = 10_000
_CHECKED_OF_A_SHARD = 1000

#: Values of properties and metrics that are read of one shard for a count, before records are looked at instead.
_VALUES_WHOLE = 100_000

#: Names of properties or metrics that are looked up to suggest some, of one shard.
_NAMES_SEEN = 50

#: Points of step metrics that one command reads; the stream itself is capped.
_POINTS_AT_ONCE = 1000

#: Members of sorted sets that a count may look at where it is only shown beside something else: some 50 ms.
_CHEAPLY = 40_000

#: Counts and facets read what they need, in bounded pieces.
_UNBOUNDED = 1 << 60


class Queries(Lookup):
    """The questions, of which `Lookup` answers those after one that is named."""

    @translated
    def metrics(self, execution_id: str) -> dict[str, list[dict[str, Any]]]:
        """Give the step metrics of an execution by name, each in the order written."""
        key = self._space.keys(execution_id).metrics(execution_id)
        found: dict[str, list[dict[str, Any]]] = {}
        start = "-"
        while points := self._space.client.xrange(key, min=start, count=_POINTS_AT_ONCE):
            for point_id, raw in points:
                add_point(found, text(point_id), raw_record(raw))
            start = f"({text(points[-1][0])}"
        return found

    @translated
    def page(
        self,
        query: str | Query | None = None,
        sort: str = "-created",
        limit: int = 50,
        cursor: str | None = None,
        columns: Sequence[str] = (),
    ) -> Page:
        """Give one page of the executions that match.

        `sort` is created, started, finished or duration, with `-` in front for the largest first; executions
        without a value come last. What has no index is looked up on the records: then, as with every query that
        finds little in much, a page may be short and still have a next one. It says what was read for it.
        The properties and metrics among `columns` (`property.lr`, `metric.loss`) are read as well.
        """
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_LIMIT:
            raise InvalidInput(f"limit must be a whole number from 1 to {MAX_LIMIT}, not {limit!r}")
        tree, order = _tree(query), parse_sort(sort)
        begun = decode_cursor(cursor, tree, order, self._space.shards) if cursor else None
        now_us = begun.now_us if begun else self._now_us(tree)
        lanes = self._lanes(make_plan(tree, now_us), order, begun, codes_of_columns(columns))
        found = merge(self._space.client, lanes, limit)
        after = None if found.places is None else encode_cursor(Cursor(tuple(found.places), now_us), tree, order)
        scanned = sum(lane.selection.scanned for lane in lanes)
        return Page(tuple(map(self._bind, found.items)), after, scanned, found.is_cut)

    def iterate(
        self,
        query: str | Query | None = None,
        sort: str = "-created",
        batch: int = MAX_LIMIT,
        columns: Sequence[str] = (),
    ) -> Iterator[Execution]:
        """Give all executions that match, page by page."""
        page = self.page(query, sort, batch, columns=columns)
        yield from page
        while page.next_cursor:
            page = self.page(query, sort, batch, page.next_cursor, columns)
            yield from page

    @translated
    def count(self, query: str | Query | None = None) -> Count:
        """Count the executions that match.

        Exactly, where indexes know. Where only records can tell, the newest ten thousand that the rest of the
        query leaves are read, and the count says that it is not `complete` if there are more.
        """
        plan = self._plan(query)
        quick = facets.count_quickly(self._space.client, self._space.all_keys(), plan)
        if quick is not None:
            return Count(quick)
        found = run(self._space.client, [self._settled(keys, plan) for keys in self._space.all_keys()])
        return Count(
            sum(selection.matches.count() for selection in found),
            complete=not any(selection.is_cut for selection in found),
            scanned=sum(selection.scanned for selection in found),
        )

    @translated
    def count_cheaply(self, query: str | Query | None = None) -> int | None:
        """Count those that match where indexes alone tell and little of them has to be read; else nothing."""
        client, shards, plan = self._space.client, self._space.all_keys(), self._plan(query)
        quick = facets.count_quickly(client, shards, plan)
        if quick is not None or RECORDS in leaves_of(plan.bits):
            return quick
        opened = run(client, [open_selection(keys, plan, self._space.shard, Budget(_UNBOUNDED)) for keys in shards])
        if not all(one.is_exact for one in opened) or sum(sum(one.wide.values()) for one in opened) > _CHEAPLY:
            return None
        run(client, [one.settle(0) for one in opened])
        return sum(one.matches.count() for one in opened)

    @translated
    def facets(
        self,
        query: str | Query | None = None,
        by: str | Sequence[str] = ("status", "function", "pipeline"),
        exact: bool = True,
    ) -> dict[str, Facet]:
        """Count the executions that match by the values of some fields, the most frequent first.

        Those that have counts, see `query.fields`; at most 100 values of each. Bounded like `count`. What is not to be
        `exact` is counted in a part of the matches where that is much quicker, and says that it is `estimated`.
        """
        fields = facets.facet_fields(by)
        plan = self._plan(query)
        client, shards = self._space.client, self._space.all_keys()
        known = facets.read_counts(client, shards, fields)
        if plan.is_everything:
            return known
        values = {field: list(facet) for field, facet in known.items()}
        work = None if exact else facets.SAMPLE_WORK // len(shards)
        parts = run(client, [self._counted(keys, plan, fields, values, work) for keys in shards])
        return facets.merged_facets(parts, known)

    @translated
    def stats(
        self,
        query: str | Query | None = None,
        since: str | datetime = "-24h",
        until: str | datetime = "now",
        step: str | float | timedelta | None = None,
        sample: int = RECORDS_OF_STATS,
    ) -> Stats:
        """Sum up what was created, started and finished in a stretch of time, step by step and as a whole.

        Of more executions than `sample` about so many are looked at, see `registry.sampling`: then the numbers are
        estimates, and not `complete`.
        """
        tree, now_us = _tree(query), self._server_us()
        begin_us, end_us = _moment(since, now_us, "since"), _moment(until, now_us, "until")
        window = Window.of(begin_us, end_us, None if step is None else _length(step))
        plan, shards = make_plan(tree, now_us), self._space.all_keys()
        steps = [look(keys, plan, self._space.shard, window, len(shards), sample) for keys in shards]
        parts = run(self._space.client, steps)
        seen = (one for part in parts for one in part.seen)
        return sum_up(seen, window, all(part.complete for part in parts), sum(part.scanned for part in parts))

    @translated
    def suggest(self, query: str, position: int | None = None) -> list[Suggestion]:
        """Give what may be written at a place of a query: fields, and the values that executions have."""
        if not isinstance(query, str):
            raise InvalidInput(f"a query is a text, not {query!r}")
        return suggestions(query, len(query) if position is None else position, self._known)

    def _known(self, field: str) -> list[str]:
        client, shards = self._space.client, self._space.all_keys()
        if FIELDS[field].counted:
            return list(facets.read_counts(client, shards, [field])[field])
        parts = run(client, [read_names(keys, field, _NAMES_SEEN) for keys in shards])
        return sorted({name for part in parts for name in part})

    def _lanes(self, plan: Plan, sort: Sort, begun: Cursor | None, also: Sequence[str]) -> list[Lane]:
        shards = self._space.all_keys()
        work = max(_PAGE_WORK // len(shards), _SHARD_WORK)
        opened = run(
            self._space.client,
            [open_selection(keys, plan, self._space.shard, Budget(work), sort.field) for keys in shards],
        )
        places = begun.places if begun else [Place(selection.top) for selection in opened]
        return [
            Lane(selection, begin_walk(selection, sort, place), sort, len(shards), place, also)
            for selection, place in zip(opened, places, strict=True)
        ]

    def _settled(self, keys: ShardKeys, plan: Plan) -> Steps[Selection]:
        selection = yield from open_selection(keys, plan, self._space.shard, Budget(_UNBOUNDED), whole=_VALUES_WHOLE)
        yield from self._settle(selection)
        return selection

    def _settle(self, selection: Selection) -> Steps[None]:
        yield from selection.settle(max(CHECKED_AT_MOST // self._space.shards, _CHECKED_OF_A_SHARD))

    def _counted(
        self, keys: ShardKeys, plan: Plan, fields: Sequence[str], values: dict[str, list[str]], work: int | None
    ) -> Steps[Part]:
        selection = yield from open_selection(keys, plan, self._space.shard, Budget(_UNBOUNDED), whole=_VALUES_WHOLE)
        share = 1.0 if work is None else (yield from facets.take_part(selection))
        if share == 1.0:
            yield from self._settle(selection)
        counts = yield from facets.facet_steps(selection, fields, values, work, share)
        return counts

    def _plan(self, query: str | Query | None) -> Plan:
        tree = _tree(query)
        return make_plan(tree, self._now_us(tree))

    def _now_us(self, query: Query) -> int:
        """Give the server's time, which all timings come from; it is asked for only where it matters."""
        return self._server_us() if is_relative(query) else 0

    def _server_us(self) -> int:
        seconds, us = self._space.client.time()
        return int(seconds) * 1_000_000 + int(us)


def _tree(query: str | Query | None) -> Query:
    return query if isinstance(query, Query) else parse(query)


def _moment(given: str | datetime, now_us: int, name: str) -> int:
    """Read one end of a stretch of time, in microseconds; a day, as its end, is over when the day is."""
    if isinstance(given, datetime):
        return max(0, to_us(given))
    try:
        start, after = read_moment(given, now_us)
    except ValueError as error:
        raise InvalidInput(f"{name}: {error}") from None
    return max(0, after if name == "until" and after > start + 1 else start)


def _length(step: str | float | timedelta) -> int:
    if isinstance(step, timedelta):
        return step // timedelta(microseconds=1)
    try:
        return read_length(str(step))
    except ValueError as error:
        raise InvalidInput(f"step: {error}") from None
