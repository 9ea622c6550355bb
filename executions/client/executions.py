"""`client.executions`: the executions of a registry as a collection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from executions.client.bulks import BulksView
from executions.client.failures import LOOK, Failures, look
from executions.client.verbs import ClientVerbs
from executions.columns import parse_columns
from executions.errors import Conflict, NotFound
from executions.execution import Execution
from executions.logs import LogPage
from executions.page import Count, Facet, Page
from executions.parts import Parts
from executions.query import Suggestion
from executions.registry.events import EventFeed, feed
from executions.registry.queries import Queries
from executions.states import Reason
from executions.stats import Stats


@dataclass(frozen=True)
class BulkReport:
    """What a verb on many executions did, or (with `dry_run`) would do."""

    matched: int
    done: int
    skipped: int
    dry_run: bool

    def __add__(self, other: BulkReport) -> BulkReport:
        return BulkReport(
            self.matched + other.matched, self.done + other.done, self.skipped + other.skipped, self.dry_run
        )


#: Looks for what a tree still grew while it was being stopped.
TREE_PASSES = 10


class Executions:
    """Get, list, count and act on executions."""

    def __init__(self, parts: Parts, queries: Queries, verbs: ClientVerbs, bulk: BulksView) -> None:
        self._parts = parts
        self._queries = queries
        self._verbs = verbs
        self._bulk = bulk

    def get(self, execution_id: str, sync: bool = False) -> Execution:
        """Read one execution by its id; with `sync`, wait for its end. Raises `NotFound`."""
        execution = self._queries.get(execution_id)
        return execution.wait() if sync else execution

    def by_number(self, number: int) -> Execution:
        """Read one execution by its number, as lists show it; raises `NotFound`."""
        return self._queries.by_number(number)

    def find(self, which: str) -> Execution:
        """Read one by what a person typed: its id or, where it is nobody's id, its number. Raises `NotFound`."""
        return self._queries.find(which)

    def whole(self, ids: Iterable[str]) -> Iterator[Execution]:
        """Read many by their ids, each with all that is kept of it, some at a time; unknown ones are left out."""
        return self._queries.whole(ids)

    def named(self, which: Iterable[str]) -> tuple[Iterator[Execution], Sequence[str]]:
        """Look many up by ids or numbers: each once and whole, in this order; and those that nobody has."""
        listed = list(dict.fromkeys(which))
        known = dict(zip(listed, self._queries.ids_of(listed), strict=True))
        ids = dict.fromkeys(found for found in known.values() if found)
        return self._queries.whole(ids), [one for one, found in known.items() if not found]

    def list(
        self,
        query: str | None = None,
        sort: str = "-created",
        limit: int = 50,
        cursor: str | None = None,
        columns: Sequence[str] = (),
    ) -> Page:
        """Read one page, newest first unless sorted otherwise.

        What lists leave out can be asked for by the names of columns: `property.lr`, `metric.loss`.
        """
        return self._queries.page(query, sort=sort, limit=limit, cursor=cursor, columns=parse_columns(columns))

    def iterate(
        self, query: str | None = None, sort: str = "-created", columns: Sequence[str] = ()
    ) -> Iterator[Execution]:
        """Go through all that match, a page at a time; `columns` as for `list`."""
        return self._queries.iterate(query, sort=sort, columns=parse_columns(columns))

    def count(self, query: str | None = None) -> Count:
        """Count those that match; a `Count` is a number that also says whether all were looked at."""
        return self._queries.count(query)

    def log_page(
        self, execution_id: str, attempt: int, *, after_line: int = 0, limit: int = 1000, level: str | None = None
    ) -> LogPage:
        """Read some lines of one attempt: those after a line's number, none below the level."""
        return self._parts.logs.read(execution_id, attempt, after_line=after_line, limit=limit, level=level)

    def last_line(self, execution_id: str, attempt: int) -> int:
        """Give the number of the last line that one attempt has written so far; 0 where there is none."""
        return self._parts.logs.last_line(execution_id, attempt)

    def suggest(self, query: str, position: int | None = None) -> Sequence[Suggestion]:
        """Give what may be written at a place of a query: fields, and values that executions have."""
        return self._queries.suggest(query, position)

    def facets(
        self,
        query: str | None = None,
        by: Sequence[str] = ("status", "function", "pipeline"),
        *,
        exact: bool = True,
    ) -> dict[str, Facet]:
        """Count those that match by the values of some fields; not `exact` is quicker where very many match."""
        return self._queries.facets(query, by, exact)

    def stats(
        self,
        query: str | None = None,
        since: str | datetime = "-24h",
        until: str | datetime = "now",
        step: str | float | timedelta | None = None,
        sample: int = 2000,
    ) -> Stats:
        """Sum up those that match over time: how many were created, started and finished, rates, percentiles.

        `since` and `until` are times as in a query, `step` is a length such as `1h`, or seconds; there are at most
        200 steps. What is read is bounded: of more than `sample` executions the numbers are estimates from about so
        many, spread over the time, and `complete` is false.
        """
        return self._queries.stats(query, since, until, step, sample)

    def failures(self, query: str | None = None, *, most: int = LOOK) -> Failures:
        """Give the newest failures that match, put together by what went wrong: the most frequent kind first."""
        return look(self._queries.page, query, most)

    def events(self, query: str | None = None, *, follow: bool = False, since: str | None = None) -> EventFeed:
        """Give what happened to all executions: one dict for each new entry of a status log, oldest first.

        Each has `id status reason function service message timestamp attempt cursor`. It begins with the oldest
        that is kept, after the cursor `since`, or with what comes from `since="now"` on; with `follow` it goes
        on for ever. Where events that come after the cursor may be kept no longer, an entry says so whose `id`
        is `None` and whose `reason` is `trimmed`. A query may name `status reason function service id`.
        """
        return feed(self._parts.space, query, follow=follow, since=since)

    def terminate(
        self,
        query: str,
        *,
        cause: str = "",
        force: bool = False,
        grace: float | None = None,
        dry_run: bool = False,
        limit: int | None = None,
    ) -> BulkReport:
        """Stop all that match and have not ended, or the first `limit` of them; with `dry_run`, only count them."""
        return self._each("terminate", query, dry_run, limit, reason=cause, force=force, grace=grace)

    def terminate_tree(
        self, root_id: str, *, cause: str = "", force: bool = False, dry_run: bool = False
    ) -> BulkReport:
        """Stop an execution and everything it started, directly or not; with `dry_run`, only count them."""
        seen: set[str] = set()
        # The root first, so that it starts nothing more; what was started before it heard of that is found in a
        # further pass. A function that was asked to stop is told so when it sends something.
        found: Sequence[Execution] = [self._queries.get(root_id), *self._below(root_id, seen)]
        total = BulkReport(0, 0, 0, dry_run)
        for _ in range(TREE_PASSES):
            seen |= {one.id for one in found}
            total += self._stop_each(
                found,
                dry_run,
                act=lambda execution: self._verbs.terminate(
                    execution.id,
                    cause=cause,
                    force=force,
                    reason=Reason.CANCELLED if execution.id == root_id else Reason.PARENT,
                ),
            )
            found = [] if dry_run else self._below(root_id, seen)
            if not found:
                break
        return total

    def _below(self, root_id: str, seen: set[str]) -> Sequence[Execution]:
        return [one for one in self._queries.iterate(f'root:"{root_id}"') if one.id != root_id and one.id not in seen]

    def rerun(self, query: str, *, cause: str = "", dry_run: bool = False, limit: int | None = None) -> BulkReport:
        """Run all that match and have ended once more, or the first `limit`; with `dry_run`, only count them."""
        return self._each("rerun", query, dry_run, limit, reason=cause)

    def _each(self, action: str, query: str, dry_run: bool, limit: int | None, **options: Any) -> BulkReport:
        if dry_run:
            plan = self._bulk.plan(action, query, limit=limit, **options)
            done = plan.eligible if limit is None else min(limit, plan.eligible)
            return BulkReport(plan.matched, done, plan.matched - done, True)
        bulk = self._bulk(action, query, limit=limit, **options).wait()
        return BulkReport(bulk.looked, bulk.done, bulk.looked - bulk.done, False)

    def _stop_each(self, executions: Sequence[Execution], dry_run: bool, act: Any) -> BulkReport:
        matched = done = 0
        for execution in executions:
            matched += 1
            if execution.is_done:
                continue
            if not dry_run:
                try:
                    act(execution)
                except (Conflict, NotFound):
                    continue  # it moved on meanwhile
            done += 1
        return BulkReport(matched, done, matched - done, dry_run)
