"""What each route demands: `Viewing`, `Operating` or `Administering`, each a client that acts for who asks.

A route without one of these is open to everybody; a test holds the list of those.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request

from executions.access import Role, Who
from executions.client import Client
from executions.server.problems import Problem
from executions.server.security.asking import Access, who_asks


def client_of(request: Request) -> Client:
    """Give the client of the app, which acts for the server itself."""
    client: Client = request.app.state.client
    return client


def access_of(request: Request) -> Access:
    """Give how this app recognises who asks."""
    access: Access = request.app.state.access
    return access


class Needs:
    """A dependency that gives who asks, if their role is enough."""

    def __init__(self, role: Role) -> None:
        self.role = role

    def __call__(self, request: Request) -> Who:
        who = who_asks(request, client_of(request), access_of(request))
        if who is None:
            raise Problem("unauthenticated", "nobody is known to ask", headers={"WWW-Authenticate": "Bearer"})
        request.state.who = who
        if not who.role.may(self.role):
            raise Problem("forbidden", f"{who.name} has the role {who.role}, and this needs {self.role}")
        return who


_NEEDS = {role: Needs(role) for role in Role}


def require(role: str) -> Callable[[Request], Who]:
    """Give the dependency that demands a role: `who: Annotated[Who, Depends(require("operate"))]`."""
    return _NEEDS[Role(role)]


def _acting(request: Request, who: Who) -> Client:
    """Give the client of who asks; where a number stands for an execution, its id is put in the address in its place.

    Here and not in each route, as dependencies are answered before a route reads its address. So the audit log names
    ids alone.
    """
    client = client_of(request).acting_as(who.name)
    which = request.path_params.get("execution_id", "")
    if which.isdigit():
        request.path_params["execution_id"] = client.executions.find(which).id
    return client


def _viewing(request: Request, who: Annotated[Who, Depends(require("view"))]) -> Client:
    return _acting(request, who)


def _operating(request: Request, who: Annotated[Who, Depends(require("operate"))]) -> Client:
    return _acting(request, who)


def _administering(request: Request, who: Annotated[Who, Depends(require("admin"))]) -> Client:
    return _acting(request, who)


Viewing = Annotated[Client, Depends(_viewing)]
Operating = Annotated[Client, Depends(_operating)]
Administering = Annotated[Client, Depends(_administering)]
