"""`client.people`: who is let in to the page and the API, and with which role."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Any

from executions.access import (
    Role,
    Token,
    User,
    Who,
    check_name,
    digest,
    hash_password,
    is_password,
    new_token,
    parse_role,
    same,
    token_name,
)
from executions.clock import SYSTEM_CLOCK, to_datetime
from executions.errors import Conflict, InvalidInput, NotFound
from executions.parts import Parts

#: Seconds that a session lasts: a working day with its evening.
SESSION_S = 12 * 3600

#: Tries to sign in for one name, and from one source, in one window, right ones included: an office has one address.
LOGIN_TRIES = 10
SOURCE_TRIES = 50
LOGIN_WINDOW_S = 300


class PeopleView:
    """Add, list and remove users and tokens; tell who somebody is."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def is_anybody(self) -> bool:
        """Tell whether there is a user or a token at all."""
        return self._parts.people.is_anybody()

    def users(self) -> list[User]:
        """List the users, by name."""
        return [_user(name, raw) for name, raw in self._parts.people.users().items()]

    def add_user(self, name: str, role: str, password: str) -> User:
        """Add a user who can sign in; raises `Conflict` where there is one of this name."""
        raw = self._raw(role) | {"password": hash_password(password)}
        if not self._parts.people.put_user(check_name(name), raw, new=True):
            raise Conflict(f"there is a user {name!r} already, or there are too many; change or remove one")
        return _user(name, raw)

    def change_user(self, name: str, *, role: str | None = None, password: str | None = None) -> User:
        """Change a user's role or password; with another password the user's sessions are over."""
        raw = self._parts.people.user(name)
        if raw is None:
            raise NotFound(f"no user {name!r}")
        if role is not None:
            raw["role"] = parse_role(role)
        if password is not None:
            raw["password"] = hash_password(password)
        self._parts.people.put_user(name, raw, new=False)
        return _user(name, raw)

    def remove_user(self, name: str) -> None:
        """Remove a user; raises `NotFound`."""
        if not self._parts.people.remove_user(name):
            raise NotFound(f"no user {name!r}")

    def tokens(self) -> list[Token]:
        """List the tokens, by name."""
        return [_token(name, raw) for name, raw in self._parts.people.tokens().items()]

    def create_token(self, name: str, role: str, expires_in: timedelta | None = None) -> str:
        """Make a token and give its text, which is not kept and cannot be had again."""
        text, kept = new_token(check_name(name))
        raw = self._raw(role) | {"digest": kept}
        if expires_in is not None:
            if not timedelta() < expires_in <= timedelta(days=36525):
                raise InvalidInput(f"a token lasts more than nothing and at most a hundred years, not {expires_in}")
            raw["expires"] = raw["created"] + round(expires_in.total_seconds() * 1_000_000)
        if not self._parts.people.put_token(name, raw):
            raise Conflict(f"there is a token {name!r} already, or there are too many; remove one first")
        return text

    def remove_token(self, name: str) -> None:
        """Remove a token, which is refused from then on; raises `NotFound`."""
        if not self._parts.people.remove_token(name):
            raise NotFound(f"no token {name!r}")

    def of_token(self, text: str) -> Who | None:
        """Tell whose token this is; `None` where it is nobody's, or not any more."""
        name = token_name(text)
        raw = self._parts.people.token(name) if name else None
        if not name or raw is None or not same(digest(text), raw["digest"]):
            return None
        if raw.get("expires") and raw["expires"] < SYSTEM_CLOCK.now() * 1_000_000:
            return None
        return Who(name, Role(raw["role"]), "token")

    def login(self, name: str, password: str, source: str = "") -> str | None:
        """Begin a session and give its secret; `None` where name or password are wrong.

        Raises `Conflict` after too many tries from one source, or for one name.
        """
        people = self._parts.people
        for tries_of, most in ((f"from:{source}", SOURCE_TRIES), (f"for:{name}", LOGIN_TRIES)):
            if people.count_login(digest(tries_of), LOGIN_WINDOW_S) > most:
                raise Conflict(f"too many tries to sign in; try again in {LOGIN_WINDOW_S // 60} minutes")
        raw = people.user(name)
        if not is_password(password, raw["password"] if raw else None) or raw is None:
            return None
        secret = secrets.token_urlsafe(32)
        people.open_session(digest(secret), {"name": name, "password": digest(raw["password"])}, SESSION_S)
        return secret

    def of_session(self, secret: str) -> Who | None:
        """Tell whose session this is; `None` where it is over."""
        session = self._parts.people.session(digest(secret))
        raw = self._parts.people.user(session["name"]) if session else None
        if session is None or raw is None or not same(digest(raw["password"]), session["password"]):
            return None
        return Who(session["name"], Role(raw["role"]), "session")

    def logout(self, secret: str) -> None:
        """End a session."""
        self._parts.people.close_session(digest(secret))

    def named(self, name: str) -> Who | None:
        """Tell who a user is whom somebody else has recognised, as a proxy does."""
        raw = self._parts.people.user(name)
        return Who(name, Role(raw["role"]), "proxy") if raw else None

    def _raw(self, role: str) -> dict[str, Any]:
        now_us = round(SYSTEM_CLOCK.now() * 1_000_000)
        return {"role": parse_role(role), "created": now_us, "created_by": self._parts.settings.principal}


def _user(name: str, raw: dict[str, Any]) -> User:
    return User(name=name, role=Role(raw["role"]), created=_time(raw, "created"), created_by=raw.get("created_by", ""))


def _token(name: str, raw: dict[str, Any]) -> Token:
    return Token(
        name=name,
        role=Role(raw["role"]),
        created=_time(raw, "created"),
        expires=_time(raw, "expires"),
        created_by=raw.get("created_by", ""),
    )


def _time(raw: dict[str, Any], field: str) -> datetime | None:
    return to_datetime(raw.get(field))
