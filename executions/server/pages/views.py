"""Saved views: kept from a list, renamed, changed, shared, removed."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from executions.client import Client
from executions.errors import Changed, Conflict, InvalidInput
from executions.server.audit import describe
from executions.server.pages.shelf import Shelf
from executions.server.pages.site import Form, PageRoute, Sent, link, redirect, render
from executions.server.security.require import Operating, Viewing
from executions.view import View

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/views")
def views(request: Request, client: Viewing) -> Response:
    """List all of them."""
    return render(request, "views.html", shelf=Shelf.of(client))


@router.post("/views", name="save_view")
def save(request: Request, client: Operating, sent: Sent) -> Response:
    """Keep a list under a name."""
    describe(request, sent.text("name"))
    try:
        made = client.views.create(**_values(sent))
    except (Conflict, InvalidInput) as error:
        code = 409 if isinstance(error, Conflict) else 422
        return _form(request, None, dict(sent), code, f"The view was not kept: {error}.")
    return redirect(request, made.url, done="view")


@router.get("/views/{view_id}")
def view(request: Request, client: Viewing, view_id: str) -> Response:
    """Show one with the form to change it."""
    found = client.views.get(view_id)
    return _form(request, found, _shown(found))


@router.post("/views/{view_id}", name="change_view")
def change(request: Request, client: Operating, view_id: str, sent: Sent) -> Response:
    """Change one, unless somebody else has changed it meanwhile."""
    found = client.views.get(view_id)
    describe(request, found.name)
    try:
        _check_seen(found, sent)
        changed = client.views.change(found, **_values(sent, partly="partly" in sent))
    except Changed as error:
        return _late(request, client, view_id, dict(sent), error)
    except (Conflict, InvalidInput) as error:
        code = 409 if isinstance(error, Conflict) else 422
        return _form(request, found, _shown(found) | dict(sent), code, f"That was not saved: {error}.")
    return redirect(request, changed.url, done="view")


@router.post("/views/{view_id}/remove", name="remove_view")
def remove(request: Request, client: Operating, view_id: str, sent: Sent) -> Response:
    """Remove one, unless somebody else has changed it meanwhile."""
    found = client.views.get(view_id)
    describe(request, found.name)
    try:
        _check_seen(found, sent)
        client.views.remove(found)
    except Changed as error:
        return _late(request, client, view_id, _shown(found), error)
    return redirect(request, "/views", done="view-gone")


def _check_seen(found: View, sent: Form) -> None:
    if sent.text("version") != str(found.version):
        raise Changed(f"{found.updated_by} has changed the view {found.name!r} since you opened it")


def _late(request: Request, client: Client, view_id: str, values: dict[str, Any], error: Changed) -> Response:
    now = client.views.get(view_id)
    was = f"It is now: {now.name!r} with the query {now.query!r}, {'shared' if now.shared else 'its owner alone'}."
    said = f"{str(error).partition(';')[0]}. {was} What you typed stands below and was not saved; saved now, it counts."
    return _form(request, now, _shown(now) | values, 412, said)


def _form(
    request: Request, found: View | None, values: dict[str, Any], status: int = 200, refused: str = ""
) -> Response:
    """Answer with the form, filled in with what somebody typed or with what is there."""
    usual = {"name": "", "q": "", "sort": "-created", "columns": "", "shared": ""}
    back = found.url if found else link("/executions", q=values.get("q"), sort=values.get("sort"))
    return render(request, "view.html", status, view=found, values=usual | values, refused=refused, back=back)


def _shown(found: View) -> dict[str, Any]:
    return {
        "name": found.name,
        "q": found.query,
        "sort": found.sort,
        "columns": ",".join(found.columns),
        "shared": "1" if found.shared else "",
    }


def _values(sent: Form, *, partly: bool = False) -> dict[str, Any]:
    """Read the form; `partly`, only what a list tells of itself."""
    values: dict[str, Any] = {
        "query": sent.text("q"), "sort": sent.text("sort") or "-created", "columns": sent.text("columns"),
    }  # fmt: skip
    return values if partly else {"name": sent.text("name"), "shared": bool(sent.get("shared")), **values}
