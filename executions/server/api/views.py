"""Saved views: lists under a name, for everybody or for whoever keeps them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import BaseModel, Field

from executions.client import Client
from executions.server.addresses import address
from executions.server.api.acting import Body
from executions.server.api.schema import CHANGED, CONFLICT, PROBLEMS, TOO_LARGE, is_match
from executions.server.audit import describe
from executions.server.problems import Problem
from executions.server.security.require import Operating, Viewing
from executions.view import View

router = APIRouter(prefix="/api/v1/views", tags=["views"], responses=PROBLEMS)

_WRITES = CONFLICT | TOO_LARGE | CHANGED

ViewName = Annotated[str, Path(max_length=200, description="Its id, or its name.")]
IfMatch = Annotated[str | None, Header(description="The ETag of what was read; others' changes are not overwritten.")]


class SavedView(BaseModel):
    """A view."""

    id: str
    name: str
    query: str
    sort: str
    columns: list[str] = Field(description="Names of columns; none for those that lists show anyway.")
    owner: str
    shared: bool
    is_system: bool = Field(description="Whether it comes with the system, and cannot be changed.")
    version: int
    created: datetime | None
    updated: datetime | None
    updated_by: str
    url: str
    count: int | None = Field(
        default=None, description="How many are in it, as of the last minute; null where no index tells that cheaply."
    )

    @classmethod
    def of(cls, view: View, count: int | None = None) -> SavedView:
        """Take it from a view."""
        names = cls.model_fields.keys() - {"count"}
        return cls.model_validate({name: getattr(view, name) for name in names} | {"count": count})


class NewView(Body):
    """A view to keep."""

    name: str = Field(min_length=1, max_length=200)
    query: str = Field(default="", max_length=4000)
    sort: str = Field(default="-created", max_length=50)
    columns: list[str] = Field(default=[], max_length=100)
    shared: bool = Field(default=False, description="Whether everybody sees it.")


class ViewChange(Body):
    """What to change of a view."""

    name: str | None = Field(default=None, min_length=1, max_length=200)
    query: str | None = Field(default=None, max_length=4000)
    sort: str | None = Field(default=None, max_length=50)
    columns: list[str] | None = Field(default=None, max_length=100)
    shared: bool | None = None


@router.get("")
def list_views(
    client: Viewing, counts: Annotated[bool, Query(description="Whether to count what is in each.")] = False
) -> list[SavedView]:
    """List the views that come with the system, one's own, and those that are shared. Needs `view`."""
    found = client.views.list()
    known = client.views.counts(found) if counts else {}
    return [SavedView.of(view, known.get(view.id)) for view in found]


@router.post("", status_code=201, responses=_WRITES)
def create_view(request: Request, response: Response, client: Operating, body: NewView) -> SavedView:
    """Keep a list under a name; there is room for 50 of one owner and 500 in all. Needs `operate`."""
    describe(request, body.name)
    return _told(response, client.views.create(**body.model_dump()), request)


@router.get("/{view}")
def get_view(response: Response, client: Viewing, view: ViewName) -> SavedView:
    """Give one view by its id or its name. Needs `view`."""
    return _told(response, client.views.get(view))


@router.patch("/{view}", responses=_WRITES)
def change_view(
    request: Request,
    response: Response,
    client: Operating,
    view: ViewName,
    body: ViewChange,
    if_match: IfMatch = None,
) -> SavedView:
    """Change one's own view or a shared one; with `If-Match`, only what was read. Needs `operate`."""
    changes: dict[str, Any] = body.model_dump(exclude_none=True)
    describe(request, ", ".join(changes))
    return _told(response, client.views.change(_matched(client, view, if_match), **changes))


@router.delete("/{view}", status_code=204, responses=_WRITES)
def remove_view(client: Operating, view: ViewName, if_match: IfMatch = None) -> None:
    """Remove one's own view or a shared one; with `If-Match`, only what was read. Needs `operate`."""
    client.views.remove(_matched(client, view, if_match))


def _matched(client: Client, name: str, if_match: str | None) -> View:
    found = client.views.get(name)
    if if_match is not None and not is_match(if_match, _etag(found)):
        raise Problem("changed", f"{found.updated_by} has changed the view {found.name!r}: version {found.version}")
    return found


def _told(response: Response, view: View, request: Request | None = None) -> SavedView:
    response.headers["ETag"] = _etag(view)
    if request is not None:
        response.headers["Location"] = address(request, f"/api/v1/views/{view.id}")
    return SavedView.of(view)


def _etag(view: View) -> str:
    return f'"{view.id}-{view.version}"'
