"""Those who are let in: users, tokens, and who is asking."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, Field

from executions.access import SHORTEST_PASSWORD, Role, Token, User, Who
from executions.server.api.acting import Body
from executions.server.api.schema import CONFLICT, PROBLEMS, TOO_LARGE
from executions.server.audit import describe
from executions.server.security.require import Administering, require

router = APIRouter(prefix="/api/v1", tags=["people"], responses=PROBLEMS)
WRITES = CONFLICT | TOO_LARGE

Name = Annotated[str, Path(max_length=64)]
NewName = Annotated[str, Field(min_length=1, max_length=64)]
Password = Annotated[str, Field(min_length=SHORTEST_PASSWORD, max_length=1024)]


class Me(BaseModel):
    """Who is asking."""

    name: str
    role: Role
    by: str


class Person(BaseModel):
    """A user."""

    name: str
    role: Role
    created: datetime | None
    created_by: str

    @classmethod
    def of(cls, user: User) -> Person:
        """Take it from a user."""
        return cls.model_validate(vars(user))


class TokenDetail(Person):
    """A token, without its secret."""

    expires: datetime | None

    @classmethod
    def of(cls, token: Token) -> TokenDetail:  # type: ignore[override]
        """Take it from a token."""
        return cls.model_validate(vars(token))


class NewPerson(Body):
    """A user to add."""

    name: NewName
    role: Role
    password: Password


class PersonChange(Body):
    """What to change."""

    role: Role | None = None
    password: Password | None = None


class NewToken(Body):
    """A token to make."""

    name: NewName
    role: Role
    expires_in_days: int | None = Field(default=None, ge=1, le=36_525)


class Secret(BaseModel):
    """A token that was made: its text is told this once."""

    name: str
    token: str


@router.get("/me")
def who_am_i(who: Annotated[Who, Depends(require("view"))]) -> Me:
    """Tell who is asking, and with which role. Needs `view`."""
    return Me(name=who.name, role=who.role, by=who.by)


@router.get("/users")
def list_users(client: Administering) -> list[Person]:
    """List the users. Needs `admin`."""
    return [Person.of(user) for user in client.people.users()]


@router.post("/users", status_code=201, responses=WRITES)
def add_user(request: Request, client: Administering, body: NewPerson) -> Person:
    """Add a user. Needs `admin`."""
    describe(request, f"{body.name} as {body.role}")
    return Person.of(client.people.add_user(body.name, body.role, body.password))


@router.patch("/users/{name}", responses=WRITES)
def change_user(request: Request, client: Administering, name: Name, body: PersonChange) -> Person:
    """Change a user's role or password. Needs `admin`."""
    describe(request, f"{body.role or ''}{' with a new password' if body.password else ''}")
    return Person.of(client.people.change_user(name, role=body.role, password=body.password))


@router.delete("/users/{name}", status_code=204, responses=WRITES)
def remove_user(client: Administering, name: Name) -> None:
    """Remove a user. Needs `admin`."""
    client.people.remove_user(name)


@router.get("/tokens")
def list_tokens(client: Administering) -> list[TokenDetail]:
    """List the tokens, without their secrets. Needs `admin`."""
    return [TokenDetail.of(token) for token in client.people.tokens()]


@router.post("/tokens", status_code=201, responses=WRITES)
def create_token(request: Request, client: Administering, body: NewToken) -> Secret:
    """Make a token. Needs `admin`."""
    describe(request, f"{body.name} as {body.role}")
    life = timedelta(days=body.expires_in_days) if body.expires_in_days else None
    return Secret(name=body.name, token=client.people.create_token(body.name, body.role, life))


@router.delete("/tokens/{name}", status_code=204, responses=WRITES)
def remove_token(client: Administering, name: Name) -> None:
    """Remove a token; it is refused from then on. Needs `admin`."""
    client.people.remove_token(name)
