"""Moves messages back into their queues that a dead worker held: popped, and neither started nor acknowledged."""

from __future__ import annotations

import logging

from executions.parts import Parts
from executions.registry.held import Holding
from executions.telemetry import log
from executions.upkeep import Report

logger = logging.getLogger(__name__)

#: Seconds for which an entry of a dead worker that holds nothing is looked at again. One that was only stopped
#: is listed anew before it takes anything, so this is for what was on its way when it died.
FORGOTTEN_AFTER_S = 3600.0


class Restorer:
    """May run twice at once, and for a worker that lives after all: whose message comes twice is started once."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def run_once(self, now: float) -> Report:
        """Give back what is held by processes that have no term left: the rescuer ended the last one."""
        done = 0
        with self._parts.dispatcher.held(self._parts.settings.namespace) as held:
            if held is None:
                return Report()
            server_now, listed = held.holders()
            # A worker takes messages from its first moment on, and beats a little later.
            quiet = [one for one in listed if one.touched < server_now - self._parts.settings.lease_s]
            for one in self._dead(quiet):
                moved = held.give_back(one.holder, one.source, server_now - FORGOTTEN_AFTER_S)
                if moved:
                    log(logger, "message.given_back", count=moved, source=repr(one.source), holder=one.holder)
                done += moved
        return Report(done)

    def _dead(self, holdings: list[Holding]) -> list[Holding]:
        if not holdings:
            return []
        known = self._parts.workers.processes()
        return [one for one in holdings if one.process not in known]
