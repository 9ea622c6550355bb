"""What `is:<condition>` stands for: questions that people ask often, written as trees."""

from __future__ import annotations

from executions.query.fields import Match
from executions.query.tree import And, Bound, Has, Node, Not, Or, Range, Term
from executions.states import TERMINAL, Reason, Status


def _status(*statuses: Status) -> Term:
    return Term("status", tuple(sorted(status.value for status in statuses)), Match.IS)


def _reason(reason: Reason) -> Term:
    return Term("reason", (reason.value,))


#: A minute after its time limit it should have been stopped; an hour in a queue is worth a look.
_STUCK = Or(
    (
        And((_status(Status.RUNNING), Range("deadline", None, Bound("-1m")))),
        And((_reason(Reason.QUEUED), Range("queued", None, Bound("-1h")))),
    )
)

CONDITIONS: dict[str, Node] = {
    "open": _status(Status.PENDING, Status.RUNNING),
    "done": _status(*TERMINAL),
    "successful": _status(Status.SUCCESS, Status.CACHED),
    "cached": _status(Status.CACHED),
    "stuck": _STUCK,
    "retried": Range("attempt", Bound("1", False), None),
    "root": Not(Has("parent")),
    "child": Has("parent"),
    **{
        reason.value: _reason(reason)
        for reason in (
            *(Reason.QUEUED, Reason.SCHEDULED, Reason.WAITING, Reason.RETRYING),
            *(Reason.TERMINATING, Reason.TIMEOUT, Reason.EXPIRED),
        )
    },
    "lost": _reason(Reason.WORKER_LOST),
}
