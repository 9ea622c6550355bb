"""What a list gives: one page of executions, and counts by value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

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


@dataclass(frozen=True)
class Facet(Mapping[str, int]):
    """How many executions have each value of a field, the most frequent first."""

    counts: Mapping[str, int] = field(default_factory=dict)
    #: Whether these are all values; a field with very many shows its most frequent ones.
    complete: bool = True

    def __getitem__(self, value: str) -> int:
        return self.counts[value]

    def __iter__(self) -> Iterator[str]:
        return iter(self.counts)

    def __len__(self) -> int:
        return len(self.counts)
