"""A saved view: what a list shows, under a name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class View:
    """A query with its order and columns, kept under a name: everybody's, or its owner's alone."""

    id: str
    name: str
    query: str = ""
    sort: str = "-created"
    #: Names of columns; none for those that lists show anyway.
    columns: tuple[str, ...] = ()
    owner: str = ""
    shared: bool = False
    #: Goes up with every change; 0 for a view that comes with the system.
    version: int = 0
    created: datetime | None = None
    updated: datetime | None = None
    updated_by: str = ""

    @property
    def is_system(self) -> bool:
        """Whether it comes with the system, and cannot be changed."""
        return not self.version

    @property
    def url(self) -> str:
        """Where it is found on a console."""
        return f"/executions?view={self.id}"


#: What everybody has; a view of one's own never gets such an id.
SYSTEM = (
    View(id="running", name="Running", query="status:running", sort="started"),
    View(id="waiting", name="Waiting", query="status:pending", sort="created"),
    View(id="failed-today", name="Failed today", query="status:failed AND finished:today", sort="-finished"),
    View(id="slowest-today", name="Slowest today", query="finished:today", sort="-duration"),
    View(id="stuck", name="Stuck", query="is:stuck"),
    View(id="noted", name="With notes", query="has:note"),
)
