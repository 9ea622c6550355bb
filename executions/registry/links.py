"""The secret that links to inputs and outputs are signed with: one for all web processes, made at its first use."""

from __future__ import annotations

import secrets

from executions.registry import keys
from executions.registry.connection import translated
from executions.registry.space import Space


class LinkKey:
    """Reads the secret, and replaces it."""

    def __init__(self, space: Space) -> None:
        self._space = space

    @translated
    def read(self) -> bytes:
        """Give the secret that is in force."""
        key, client = keys.link_key(self._space.namespace), self._space.client
        found = client.get(key)
        if found is None:
            # Two who are the first at once agree on the one that was there first.
            client.set(key, secrets.token_hex(32), nx=True)
            found = client.get(key)
        assert found is not None
        return bytes(found)

    @translated
    def replace(self) -> None:
        """Put another secret in force: what was signed with the one before holds no more."""
        self._space.client.set(keys.link_key(self._space.namespace), secrets.token_hex(32))
