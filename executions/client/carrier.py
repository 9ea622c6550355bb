"""Carries bulks out, a batch at a time: any process may, one does, and another goes on where it dies.

What is in hand is written down before it is acted on, and each act notes its bulk on the record in the same step. So
who goes on repeats a batch, and each of its executions answers whether it was done already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from executions.bulk import Action, Bulk, BulkState, Order
from executions.client.verbs import ClientVerbs
from executions.clock import SYSTEM_CLOCK
from executions.errors import InvalidQuery, NotFound, Unavailable
from executions.execution import Execution
from executions.ids import new_id
from executions.registry.bulks import Bulks, Hand, Tally
from executions.registry.queries import Queries
from executions.registry.transitions import Found

#: Executions that are in hand at once: what is repeated after a crash, and finished after a cancel.
BATCH = 100

#: Bulks that one look carries on, the oldest first.
AT_ONCE = 100


class Carrier:
    """Carries out what is written down. `acting_as` gives the verbs of who started it."""

    def __init__(self, bulks: Bulks, queries: Queries, acting_as: Callable[[str], ClientVerbs]) -> None:
        self._bulks = bulks
        self._queries = queries
        self._acting_as = acting_as

    def carry(self, bulk_id: str, seconds: float) -> bool:
        """Carry one on, for about so long; tell whether there was anything to do for us."""
        token = new_id()
        held = self._bulks.claim(bulk_id, token)
        if held is None:
            return False
        deadline = SYSTEM_CLOCK.monotonic() + seconds
        while held is not None and not held[0].is_over:
            if SYSTEM_CLOCK.monotonic() > deadline:
                self._bulks.let_go(bulk_id, token)
                break
            held = self._batch(*held, token)
        return True

    def carry_all(self, seconds: float) -> int:
        """Carry on those that have not ended, about so long altogether; give how many those were."""
        running = self._bulks.running(AT_ONCE)
        for bulk_id in running:
            self.carry(bulk_id, seconds / len(running))
        return len(running)

    def first(self, order: Order) -> tuple[Hand, Tally]:
        """Select the first ones. That fixes the selection: what is newer is not of it, whatever it matches."""
        tally = Tally()
        return self._select(order, None, order.limit, None, tally), tally

    def _batch(self, bulk: Bulk, hand: Hand, token: str) -> tuple[Bulk, Hand] | None:
        """Act on what is in hand, select what comes next, and write both down in one step."""
        tally, verbs = Tally(), self._acting_as(bulk.principal)
        for execution_id in hand.batch:
            self._act(verbs, bulk, execution_id, tally)
        left = None if bulk.order.limit is None else bulk.order.limit - bulk.done - tally.done
        state, after, message = BulkState.RUNNING, Hand((), None), ""
        if bulk.cancelled_by:
            state = BulkState.CANCELLED
        elif hand.cursor is None or left == 0:
            state = BulkState.DONE
        else:
            try:
                after = self._select(bulk.order, hand.cursor, left, bulk, tally)
            except InvalidQuery as error:
                state, message = BulkState.FAILED, str(error)
        return self._bulks.step(bulk, token, tally, after, state, message)

    def _select(self, order: Order, cursor: str | None, left: int | None, bulk: Bulk | None, tally: Tally) -> Hand:
        size = BATCH if left is None else min(BATCH, left)
        began = bulk.created if bulk else None
        if order.query is None:
            at = int(cursor or 0)
            named = order.ids[at : at + size]
            known = {one.id: one for one in self._queries.get_many(named)}
            tally.skipped.update("unknown id" for one in named if one not in known)
            after = str(at + size) if at + size < len(order.ids) else None
            return Hand(tuple(_wanted(order, list(known.values()), began, tally)), after)
        # The newest first: only then does a cursor say what was there when the first page was read.
        page = self._queries.page(order.query or None, sort="-created", limit=size, cursor=cursor)
        return Hand(tuple(_wanted(order, page.items, began, tally)), page.next_cursor)

    def _act(self, verbs: ClientVerbs, bulk: Bulk, execution_id: str, tally: Tally) -> None:
        try:
            outcome = _done_to(verbs, bulk, execution_id)
        except Unavailable:
            raise
        except NotFound:
            tally.skipped["unknown id"] += 1
        except Exception as error:  # one broken record must not keep all others from it
            tally.failed[type(error).__name__] += 1
            tally.failures.append((execution_id, str(error)[:500]))
        else:
            if isinstance(outcome, Found):
                # It moved on since it was selected.
                tally.skipped[bulk.order.why_not_status(outcome.status) or f"{outcome.status} by then"] += 1
            else:
                tally.done += 1


def _wanted(order: Order, executions: Sequence[Execution], began: datetime | None, tally: Tally) -> list[str]:
    """Give the ids of those that are to be acted on; count why the others are not."""
    wanted = []
    for one in executions:
        why = order.why_not(one, began)
        if why:
            tally.skipped[why] += 1
        else:
            wanted.append(one.id)
    return wanted


def _done_to(verbs: ClientVerbs, bulk: Bulk, execution_id: str) -> Any:
    order = bulk.order
    match order.action:
        case Action.TERMINATE:
            force, grace = bool(order.options.get("force")), order.options.get("grace")
            return verbs.terminate(execution_id, cause=order.reason, force=force, grace=grace, bulk=bulk.id)
        case Action.RERUN:
            return verbs.rerun_for(execution_id, bulk.id, order.reason)
        case Action.RELAUNCH:
            return verbs.relaunch_for(execution_id, bulk.id)
        case Action.TAG:
            return verbs.note(execution_id, bulk.id, order.options["tags"])
