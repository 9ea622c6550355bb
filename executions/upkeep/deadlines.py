"""Sees to it that nothing runs for ever: neither what no worker owns any more, nor what outlives its limit.

A walk over all that runs, a piece at a time, so that a run costs the same however much there is.
"""

from __future__ import annotations

import logging

from executions.clock import SYSTEM_CLOCK
from executions.errors import InvalidQuery
from executions.execution import Execution
from executions.parts import Parts
from executions.registry.queries import Queries
from executions.registry.workers import parse_term
from executions.telemetry import log
from executions.upkeep import Report
from executions.upkeep.contact import Contact
from executions.upkeep.rescuer import owner_of, rescue, running

logger = logging.getLogger(__name__)

#: Running executions that one run looks at.
LOOKED_AT = 200

#: Seconds beyond limit and grace that a worker has to end what is over its time, before that is worth a word.
SLACK_S = 10.0

OVERDUE = "over its time limit, and its worker has not ended it: restart that worker"


class Deadlines:
    """May run twice at once: each attempt is closed by one, and what is said twice is the same."""

    def __init__(self, parts: Parts, contact: Contact) -> None:
        self._parts = parts
        self._contact = contact
        self._queries = Queries(parts.space, lambda execution: execution)
        #: Where the walk goes on; a new process begins anew.
        self._cursor: str | None = None

    def run_once(self, now: float) -> Report:
        """Look at the next piece of what runs."""
        server_us = self._contact.proof(SYSTEM_CLOCK.monotonic())
        if server_us is None:
            return Report(notes=("not in touch with the server for a whole lease yet",))
        try:
            page = self._queries.page("status:running", sort="created", limit=LOOKED_AT, cursor=self._cursor)
        except InvalidQuery:  # what the cursor points at is gone
            self._cursor = None
            return Report()
        self._cursor = page.next_cursor
        # Read before the terms: who starts something holds a term by then.
        found = [one for one in (running(self._queries, one.id) for one in page) if one is not None]
        terms = self._parts.workers.terms()
        names = {parse_term(term)[0] for term in terms}
        freed = late = 0
        for one in found:
            if self._is_orphan(one, terms, names, server_us):
                freed += rescue(self._parts, one, f"worker {one.worker} is gone, and with it the right to run this")
            elif self._is_overdue(one, server_us):
                late += self._say(one)
        return Report(freed, 0, (f"{late} over their time limit",) if late else ())

    def _is_orphan(self, one: Execution, terms: set[str], names: set[str], server_us: int) -> bool:
        """Whether nobody owns it, and the rescuer does not know of it; what runs outside a worker has no owner."""
        started_us = int(one._raw.get("sd", 0))
        if one.pool == "eager" or server_us - started_us < self._parts.settings.lease_s * 1_000_000:
            return False
        owner = owner_of(one)
        return owner not in terms if owner else one.worker not in names

    def _is_overdue(self, one: Execution, server_us: int) -> bool:
        slack_us = (self._parts.settings.grace_s + SLACK_S) * 1_000_000
        return "dl" in one._raw and server_us - int(one._raw["dl"]) > slack_us and one.message != OVERDUE

    def _say(self, one: Execution) -> bool:
        log(logger, "execution.overdue", id=one.id, attempt=one.attempt, worker=one.worker)
        return self._parts.transitions.annotate(one.id, one.attempt, fields=("msg", OVERDUE)) is None
