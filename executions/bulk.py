"""One action on many executions: what is asked for, what it would do, and the object that tells how far it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from executions.errors import InvalidInput
from executions.execution import Execution
from executions.states import TERMINAL, Reason, Status

#: Ids that one bulk may name; for more there are queries.
MOST_IDS = 5000


class Action(StrEnum):
    """What is done to each."""

    TERMINATE = "terminate"
    RERUN = "rerun"
    RELAUNCH = "relaunch"
    TAG = "tag"


class BulkState(StrEnum):
    """How a bulk is."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


#: The options that each action takes, beside a reason.
_OPTIONS: dict[Action, frozenset[str]] = {
    Action.TERMINATE: frozenset({"force", "grace"}),
    Action.RERUN: frozenset(),
    Action.RELAUNCH: frozenset(),
    Action.TAG: frozenset({"tags"}),
}


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is asked for."""

    action: Action
    #: A query, or else ids.
    query: str | None = None
    ids: tuple[str, ...] = ()
    #: How many are acted on at most.
    limit: int | None = None
    reason: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, action: str, query: str | None, ids: Sequence[str] | None, limit: int | None, reason: str, **options: Any
    ) -> Order:
        """Make an order of what a caller gives; raises `InvalidInput`."""
        if action not in list(Action):
            raise InvalidInput(f"a bulk can {', '.join(Action)}, not {action!r:.60}")
        if (query is None) == (ids is None):
            raise InvalidInput("give either a query or ids")
        if ids is not None and not 0 < len(ids) <= MOST_IDS:
            raise InvalidInput(f"a bulk names from 1 to {MOST_IDS} ids, not {len(ids)}; use a query for more")
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
            raise InvalidInput(f"limit must be a whole number above zero, not {limit!r}")
        grace = options.get("grace")
        if grace is not None and (isinstance(grace, bool) or not isinstance(grace, int | float) or not grace >= 0):
            raise InvalidInput(f"grace must be a number of seconds, not {grace!r}")
        given = {name: value for name, value in options.items() if value not in (None, False, (), [])}
        if unknown := given.keys() - _OPTIONS[Action(action)]:
            raise InvalidInput(f"{action} has no option {min(unknown)!r}")
        if "tags" in given:
            given["tags"] = [str(tag) for tag in given["tags"]]
        known = tuple(dict.fromkeys(ids or ()))
        return cls(action=Action(action), query=query, ids=known, limit=limit, reason=reason, options=given)

    @property
    def is_whole(self) -> bool:
        """Whether all is said that it takes to carry it out."""
        return self.action is not Action.TAG or bool(self.options.get("tags"))

    def why_not(self, execution: Execution, began: datetime | None = None) -> str:
        """Say why an execution is left as it is; nothing where it is acted on."""
        why = self.why_not_status(execution.status)
        if self.action is Action.RERUN and not why and began and execution.finished and execution.finished > began:
            return "ended after it began"
        is_stopping = execution.reason is Reason.TERMINATING and not self.options.get("force")
        return "stopping already" if self.action is Action.TERMINATE and is_stopping else why

    def why_not_status(self, status: Status) -> str:
        """Say why what is in a status is left as it is."""
        if self.action is Action.TERMINATE and status in TERMINAL:
            return "ended already"
        return f"still {status}" if self.action is Action.RERUN and status not in TERMINAL else ""


@dataclass(frozen=True, kw_only=True)
class BulkPlan:
    """What a bulk would do, as it looks now."""

    order: Order
    #: Those that match.
    matched: int
    #: Those that would be acted on.
    eligible: int
    #: The others: why not, and how many.
    others: dict[str, int]
    #: Whether all were looked at; where only records can tell, the newest ten thousand are.
    complete: bool = True


class Verbs(Protocol):
    """What a bulk can be asked to do."""

    def get(self, bulk_id: str) -> Bulk: ...
    def cancel(self, bulk_id: str) -> Bulk: ...
    def wait(self, bulk_id: str, timeout: float | None) -> Bulk: ...


@dataclass(frozen=True, kw_only=True)
class Bulk:
    """A bulk as it was when it was read. It goes on without the one who started it."""

    id: str
    order: Order
    principal: str
    state: BulkState
    created: datetime
    finished: datetime | None = None
    #: How many matched at the start, where all could be counted.
    total: int | None = None
    #: Those that were acted on.
    done: int = 0
    #: Those that were left as they are: why, and how many.
    skipped: dict[str, int] = field(default_factory=dict)
    #: Those for which it went wrong: the kind of error, and how many.
    failed: dict[str, int] = field(default_factory=dict)
    #: Some of those, each with its message.
    failures: tuple[tuple[str, str], ...] = ()
    #: Who asked for it to go no further.
    cancelled_by: str = ""
    #: What ended it, where its state is failed.
    message: str = ""
    _verbs: Verbs | None = field(default=None, repr=False, compare=False)

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.state is not BulkState.RUNNING

    @property
    def looked(self) -> int:
        """How many it came to."""
        return self.done + sum(self.skipped.values()) + sum(self.failed.values())

    @property
    def target(self) -> int | None:
        """How many it will come to, as far as that was known at the start."""
        return self.total if self.order.limit is None or self.total is None else min(self.order.limit, self.total)

    @property
    def reached(self) -> int:
        """How far it is on the way to `target`; a limit counts those that were acted on."""
        return self.looked if self.order.limit is None else self.done

    @property
    def gone(self) -> int:
        """How many matched at the start and did no more when it came to them."""
        is_whole = self.state is BulkState.DONE and self.order.limit is None
        return max(0, (self.total or 0) - self.looked) if is_whole else 0

    @property
    def query(self) -> str:
        """The query that finds those that it has acted on."""
        return f"bulk:{self.id}"

    def refresh(self) -> Bulk:
        """Read it again."""
        return self._ask().get(self.id)

    def wait(self, timeout: float | None = None) -> Bulk:
        """Wait for its end, and help meanwhile; raises `WaitTimeout`, and it goes on."""
        return self._ask().wait(self.id, timeout)

    def cancel(self) -> Bulk:
        """Ask for it to go no further; what it has in hand, at most a hundred, is finished."""
        return self._ask().cancel(self.id)

    def _ask(self) -> Verbs:
        if self._verbs is None:
            raise RuntimeError(f"bulk {self.id} was not read through a client")
        return self._verbs
