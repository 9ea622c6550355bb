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
    #: Records that were read to find these, because no index knows what the query asks about; 0 where one does.
    scanned: int = 0
    #: Whether the work for one page was used up before the page was full. What was not looked at comes next.
    is_cut: bool = False

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

    def __init__(
        self,
        counts: Mapping[str, int] | None = None,
        complete: bool = True,
        scanned: int = 0,
        estimated: bool = False,
    ) -> None:
        super().__init__(counts or {})
        #: Whether these are all values, of all that match. A field with very many shows its most frequent ones.
        self.complete = complete
        #: Records that were read to find these, as for a `Count`.
        self.scanned = scanned
        #: Whether they were counted in a part of what matches, spread over all of it. A rare value may be missing.
        self.estimated = estimated


class Count(int):
    """How many executions match: a number that says whether all were looked at."""

    complete: bool
    scanned: int

    def __new__(cls, number: int, complete: bool = True, scanned: int = 0) -> Count:
        count = super().__new__(cls, number)
        #: Whether nothing else can match. Where only the records can tell, the newest ten thousand that the rest of
        #: the query leaves are read, and the number is that of the matches among them.
        count.complete = complete
        #: Records that were read for that; 0 where indexes know the number.
        count.scanned = scanned
        return count

    def __reduce__(self) -> tuple[type[Count], tuple[int, bool, int]]:
        return Count, (int(self), self.complete, self.scanned)
