"""How long a process has been in touch with the server without a break.

A lease that ran out has two meanings: its worker is gone, or the server was (stopped, restarted, paused, out of
reach) and heard nobody. Only who has heard from the server all through one lease can tell them apart.
"""

from __future__ import annotations

from executions.settings import Settings


class Contact:
    """Fed by a worker's beats; asked before anybody is declared dead."""

    def __init__(self, settings: Settings) -> None:
        self._lease_s, self._gap_s = settings.lease_s, settings.gap_s
        self._since: float | None = None
        self._last = float("-inf")
        self._heard_us = 0

    def heard(self, now: float, server_us: int) -> None:
        """The server answered now, by the monotonic clock, when its own clock showed this."""
        if self._since is None or now - self._last > self._gap_s:
            self._since = now
        self._last, self._heard_us = now, server_us

    def broken(self) -> None:
        """The server did not answer."""
        self._since = None

    def proof(self, now: float) -> int | None:
        """Give the server's time when it was last heard, after a whole lease without a break; else nothing."""
        if self._since is None or now - self._last > self._gap_s or now - self._since < self._lease_s:
            return None
        return self._heard_us
