"""`client.executions.failures()`: failures put together by what went wrong, as far back as one look reaches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from executions.execution import Execution
from executions.page import Page
from executions.query import parse

#: The newest failures that are looked at unless more or fewer are asked for, and those of one page.
LOOK = 500
_PAGE = 500


@dataclass(frozen=True)
class FailureGroup:
    """Failures of one kind: the same error out of the same place."""

    key: str
    type: str
    message: str
    frame: str
    functions: tuple[str, ...]
    items: tuple[Execution, ...]

    @property
    def newest(self) -> Execution:
        """The last of them."""
        return self.items[0]

    @property
    def oldest(self) -> Execution:
        """The first of them that was looked at."""
        return self.items[-1]


@dataclass(frozen=True)
class Failures:
    """The groups, the most frequent first."""

    groups: tuple[FailureGroup, ...]
    #: The failures that were looked at, the newest first.
    items: tuple[Execution, ...]
    #: Whether there are older ones that were not.
    is_cut: bool = False


def look(page: Callable[..., Page], query: str | None, most: int) -> Failures:
    """Read the newest failures that match and put together those that are of one kind."""
    if query:
        # By itself first: what is refused is pointed at in the text that was written.
        parse(query)
    asked = f"status:failed AND ({query})" if query else "status:failed"
    items: list[Execution] = []
    cursor: str | None = None
    while len(items) < most:
        found = page(asked, sort="-finished", limit=min(_PAGE, most - len(items)), cursor=cursor)
        items += found.items
        cursor = found.next_cursor
        if cursor is None:
            break
    by_kind: dict[str, list[Execution]] = {}
    for one in items:
        by_kind.setdefault(_kind(one), []).append(one)
    groups = sorted((_group(key, of) for key, of in by_kind.items()), key=lambda group: -len(group.items))
    return Failures(tuple(groups), tuple(items), cursor is not None)


def _kind(execution: Execution) -> str:
    error = execution.error
    if error is None:
        return execution.reason.value
    return error.fingerprint or f"{error.type}: {execution.function}"


def _group(key: str, items: Sequence[Execution]) -> FailureGroup:
    error = items[0].error
    return FailureGroup(
        key,
        error.type if error else items[0].reason.value,
        (error.message if error else "") or items[0].message,
        (error.frame if error else None) or "",
        tuple(dict.fromkeys(one.function for one in items)),
        tuple(items),
    )
