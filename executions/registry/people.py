"""Users, tokens and sessions: who is let in, and what is kept of their secrets.

| key | field | JSON |
|---|---|---|
| `users` | the user's name | `role password created created_by`; the password is hashed |
| `tokens` | the token's name | `role digest created expires created_by`; times in us |
| `session` | the digest of the cookie | `name password`: with another password the session is over |
"""

from __future__ import annotations

import json
from typing import Any

from executions.registry import keys
from executions.registry.connection import translated
from executions.registry.space import Space

#: Users, and tokens, that there can be: each list is read whole.
MOST = 1000


class People:
    """Reads and writes about those who are let in."""

    def __init__(self, space: Space) -> None:
        self._space = space

    @translated
    def is_anybody(self) -> bool:
        """Tell whether there is a user or a token."""
        pipeline = self._space.client.pipeline(transaction=False)
        pipeline.hlen(self._users)
        pipeline.hlen(self._tokens)
        return any(pipeline.execute())

    def user(self, name: str) -> dict[str, Any] | None:
        """Read one user."""
        return self._read(self._users, name)

    def users(self) -> dict[str, dict[str, Any]]:
        """Read all users by name."""
        return self._all(self._users)

    def put_user(self, name: str, user: dict[str, Any], *, new: bool) -> bool:
        """Write a user; with `new`, only one that is not there. Tell whether it was written."""
        return self._put(self._users, name, user, new=new)

    def remove_user(self, name: str) -> bool:
        """Remove a user, whose sessions end with that."""
        return self._remove(self._users, name)

    def token(self, name: str) -> dict[str, Any] | None:
        """Read one token."""
        return self._read(self._tokens, name)

    def tokens(self) -> dict[str, dict[str, Any]]:
        """Read all tokens by name."""
        return self._all(self._tokens)

    def put_token(self, name: str, token: dict[str, Any]) -> bool:
        """Write a token that is not there yet; tell whether it was written."""
        return self._put(self._tokens, name, token, new=True)

    def remove_token(self, name: str) -> bool:
        """Remove a token."""
        return self._remove(self._tokens, name)

    @translated
    def open_session(self, digest: str, session: dict[str, Any], life_s: int) -> None:
        """Begin a session that ends by itself."""
        self._space.client.set(keys.session(self._space.namespace, digest), json.dumps(session), ex=life_s)

    @translated
    def session(self, digest: str) -> dict[str, Any] | None:
        """Read a session."""
        return _decoded(self._space.client.get(keys.session(self._space.namespace, digest)))

    @translated
    def close_session(self, digest: str) -> None:
        """End a session."""
        self._space.client.delete(keys.session(self._space.namespace, digest))

    @translated
    def count_login(self, source: str, window_s: int) -> int:
        """Count a try to sign in; give how many there were from this source in the window that is open."""
        name = keys.logins(self._space.namespace, source)
        pipeline = self._space.client.pipeline(transaction=True)
        pipeline.set(name, 0, ex=window_s, nx=True)
        pipeline.incr(name)
        return int(pipeline.execute()[1])

    @property
    def _users(self) -> str:
        return keys.users(self._space.namespace)

    @property
    def _tokens(self) -> str:
        return keys.tokens(self._space.namespace)

    @translated
    def _read(self, place: str, name: str) -> dict[str, Any] | None:
        return _decoded(self._space.client.hget(place, name))

    @translated
    def _all(self, place: str) -> dict[str, dict[str, Any]]:
        found = self._space.client.hgetall(place)
        return {name.decode(): json.loads(text) for name, text in sorted(found.items())}

    @translated
    def _put(self, place: str, name: str, value: dict[str, Any], *, new: bool) -> bool:
        client, text = self._space.client, json.dumps(value)
        if new:
            return client.hlen(place) < MOST and bool(client.hsetnx(place, name, text))
        client.hset(place, name, text)
        return True

    @translated
    def _remove(self, place: str, name: str) -> bool:
        return bool(self._space.client.hdel(place, name))


def _decoded(text: bytes | None) -> dict[str, Any] | None:
    found: dict[str, Any] | None = None if text is None else json.loads(text)
    return found
