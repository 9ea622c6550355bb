"""Ends what runs under an old version of its service, once its time is over.

Nothing is sent to anybody for this: each worker compares the versions of what it runs with the versions in
force, which it reads anyway. So an update reaches executions whose worker missed the push, or whose updater
died, and none that started under the new version.
"""

from __future__ import annotations

import logging

from executions.celery.site import Site
from executions.service import ServiceState
from executions.slots import Seen, Slots, service_token
from executions.telemetry import log
from workers.bootsteps.stops import Stopper

logger = logging.getLogger(__name__)


class Resets:
    """Knows which executions of this worker are out of date, and until when each may go on."""

    def __init__(self, site: Site, slots: Slots, stopper: Stopper) -> None:
        self._site = site
        self._slots = slots
        self._stopper = stopper
        self._names: dict[int, str] = {}
        self._until: dict[int, float] = {}

    def look(self, now: float) -> None:
        """Compare what runs with what is in force; raises where the registry cannot be read."""
        occupied = [seen for seen in self._slots.seen() if seen.service]
        for token in self._until.keys() - {seen.token for seen in occupied}:
            del self._until[token]
        for seen in occupied:
            name = self._name(seen.service)
            state = self._site.services.state(name) if name else None
            if state is not None and seen.version < state.version:
                self._end_in_time(seen, state, now)

    def _end_in_time(self, seen: Seen, state: ServiceState, now: float) -> None:
        until = self._until.setdefault(seen.token, now + state.settings.drain_s)
        is_over = seen.version < state.forced or until <= now
        if is_over and self._stopper.reset(seen.token, now):
            log(logger, "service.reset", service=state.name, version=seen.version, token=seen.token)

    def _name(self, token: int) -> str | None:
        if token not in self._names:
            services = {getattr(task, "service", None) for task in self._site.app.tasks.values()}
            self._names |= {service_token(name): name for name in services if name}
        return self._names.get(token)
