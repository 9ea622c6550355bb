"""What a list gives: one page of executions, and counts by value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from executions.execution import Execution, notebook_html


@dataclass(frozen=True)
class Page:
    """Some executions of a list, and where the next ones are.

    The work for one page is bounded, so a page of a query that finds little in much may hold fewer than
    asked for, even none, and still have a `next_cursor`. The list is over when there is no cursor.
    """

    items: tuple[Execution, ...]
    next_cursor: str | None = None

    def __iter__(self) -> Iterator[Execution]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, at: int) -> Execution:
        return self.items[at]

    def _repr_html_(self) -> str:
        return notebook_html(self.items)


class Facet(dict[str, int]):
    """How many executions have each value of a field, the most frequent first."""

    def __init__(self, counts: Mapping[str, int] | None = None, complete: bool = True) -> None:
        super().__init__(counts or {})
        #: Whether these are all values; a field with very many shows its most frequent ones.
        self.complete = complete
