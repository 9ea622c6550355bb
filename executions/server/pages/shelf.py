"""The saved views as they stand beside a list."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from executions.client import Client
from executions.client.views import COUNTING_S
from executions.view import View

Row = tuple[View, int | None]


@dataclass(frozen=True)
class Shelf:
    """The views that somebody sees, with how many are in each where that is known."""

    system: tuple[Row, ...]
    own: tuple[Row, ...]
    shared: tuple[Row, ...]

    @classmethod
    def of(cls, client: Client) -> Shelf:
        """Read them."""
        views = client.views.list()
        counts, me = client.views.counts(views, COUNTING_S), client.settings.principal

        def rows(some: Iterable[View]) -> tuple[Row, ...]:
            return tuple((view, counts.get(view.id)) for view in some)

        return cls(
            rows(view for view in views if view.is_system),
            rows(view for view in views if not view.is_system and view.owner == me),
            rows(view for view in views if not view.is_system and view.owner != me),
        )
