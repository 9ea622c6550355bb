"""`client.bulk(...)`: one action on many executions, as an object that goes on without whoever started it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from executions.bulk import Bulk, BulkPlan, Order
from executions.client.carrier import Carrier
from executions.clock import SYSTEM_CLOCK
from executions.errors import InvalidInput, NotFound, WaitTimeout
from executions.ids import new_id
from executions.parts import Parts
from executions.registry.bulks import Bulks
from executions.registry.queries import Queries
from executions.states import Status

#: Seconds that one who waits carries on before it looks at its own time, and between looks while another does.
SPELL_S = 1.0
LOOK_S = 0.2


class BulksView:
    """Start, plan, get, list, cancel."""

    def __init__(self, parts: Parts, queries: Queries, carrier: Carrier) -> None:
        self._parts = parts
        self._queries = queries
        self._carrier = carrier
        self._bulks = Bulks(parts.space)

    def __call__(
        self,
        action: str,
        query: str | None = None,
        *,
        ids: Sequence[str] | None = None,
        limit: int | None = None,
        reason: str = "",
        **options: Any,
    ) -> Bulk:
        """Write down that an action is to be done to all that match, or to those with these ids.

        `action` is terminate (with `force`, `grace`), rerun, relaunch or tag (with `tags`). The selection is fixed
        here: nothing that is created later is of it. The fleet, a web process or whoever waits carries it out.
        """
        order = Order.of(action, query, ids, limit, reason, **options)
        if not order.is_whole:
            raise InvalidInput("say which tags")
        hand, tally = self._carrier.first(order)
        plan, bulk_id = self._plan(order), new_id()
        self._bulks.open(bulk_id, order, hand, plan.matched if plan.complete else None, tally.skipped)
        return self.get(bulk_id)

    def plan(
        self,
        action: str,
        query: str | None = None,
        *,
        ids: Sequence[str] | None = None,
        limit: int | None = None,
        reason: str = "",
        **options: Any,
    ) -> BulkPlan:
        """Say what that would do, and why not to some; nothing is written down."""
        return self._plan(Order.of(action, query, ids, limit, reason, **options))

    def get(self, bulk_id: str) -> Bulk:
        """Read one; raises `NotFound`."""
        found = self._bulks.read(bulk_id)
        if found is None:
            raise NotFound(f"no bulk {bulk_id!r}: the id is unknown or it was removed after its retention")
        return replace(found, _verbs=self)

    def list(self, limit: int = 50) -> list[Bulk]:
        """List the newest."""
        return [replace(one, _verbs=self) for one in self._bulks.newest(limit)]

    def cancel(self, bulk_id: str) -> Bulk:
        """Ask for one to go no further; one that has ended stays as it is. Raises `NotFound`."""
        self._bulks.cancel(bulk_id, self._parts.settings.principal)
        return self.get(bulk_id)

    def wait(self, bulk_id: str, timeout: float | None = None) -> Bulk:
        """Wait for its end, and carry it on meanwhile unless another does."""
        deadline = SYSTEM_CLOCK.monotonic() + timeout if timeout is not None else None
        pause = threading.Event()
        while True:
            now = self.get(bulk_id)
            if now.is_over:
                return now
            left = SPELL_S if deadline is None else min(SPELL_S, deadline - SYSTEM_CLOCK.monotonic())
            if left <= 0:
                raise WaitTimeout(f"waited {timeout:g} s for bulk {bulk_id}, which goes on")
            if not self._carrier.carry(bulk_id, left):
                pause.wait(min(LOOK_S, left))

    def carry_on(self, seconds: float = SPELL_S) -> int:
        """Carry out some of what has not ended, unless others do; give how many bulks have not."""
        return self._carrier.carry_all(seconds)

    def _plan(self, order: Order) -> BulkPlan:
        others: dict[str, int] = {}
        if order.query is None:
            known = self._queries.get_many(order.ids)
            reasons = [order.why_not(one) for one in known] + ["unknown id"] * (len(order.ids) - len(known))
            counted = [(why, 1) for why in reasons]
            complete = True
        else:
            counts = self._queries.facets(order.query or None, by=("status",))["status"]
            counted = [(order.why_not_status(Status(status)), number) for status, number in counts.items()]
            complete = counts.complete
        for why, number in counted:
            if why:
                others[why] = others.get(why, 0) + number
        matched = sum(number for _, number in counted)
        eligible = matched - sum(others.values())
        return BulkPlan(order=order, matched=matched, eligible=eligible, others=others, complete=complete)
