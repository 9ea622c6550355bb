"""Bulks that this web process carries on: a thread, for as long as there are any that have not ended."""

from __future__ import annotations

import logging
import threading

from fastapi import Request

from executions.bulk import Bulk
from executions.client import Client
from executions.errors import ExecutionsError
from executions.telemetry import log

logger = logging.getLogger(__name__)

#: Seconds that one look carries on, and from one to the next: while another process carries, this one stands by.
SPELL_S = 2.0
PAUSE_S = 0.5


class Carrying:
    """Begins when it is woken. Nothing is lost with it: whoever is woken next goes on."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._wanted = False
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """See to it that what has not ended is carried on."""
        with self._lock:
            self._wanted = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="executions-bulk", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        pause = threading.Event()
        while self._is_wanted():
            try:
                while self._client.bulk.carry_on(SPELL_S):
                    pause.wait(PAUSE_S)
            except ExecutionsError as error:
                log(logger, "bulk.interrupted", error=error)
                pause.wait(SPELL_S)
                with self._lock:
                    self._wanted = True

    def _is_wanted(self) -> bool:
        """Tell whether somebody woke it since; where not, the thread is over."""
        with self._lock:
            wanted, self._wanted = self._wanted, False
            if not wanted:
                self._thread = None
            return wanted


def carrying_of(request: Request) -> Carrying:
    """Give what carries bulks on in this process."""
    carrying: Carrying = request.app.state.carrying
    return carrying


def looked_at(request: Request, client: Client, bulk_id: str) -> Bulk:
    """Read a bulk; where it has not ended, this process helps from now on, or stands by."""
    bulk = client.bulk.get(bulk_id)
    if not bulk.is_over:
        carrying_of(request).wake()
    return bulk
