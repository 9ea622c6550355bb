"""Tells the catalogue which functions this worker knows: at its start, then now and then as long as it lives."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from executions.celery.publish import MACHINERY
from executions.celery.site import Site, queue_of
from executions.errors import ExecutionsError
from executions.function import Function, describe
from executions.registry.catalogue import TELL_S
from executions.telemetry import log

logger = logging.getLogger(__name__)

#: What Celery's own tasks are called.
_CELERYS_OWN = "celery."


class Teller:
    """Knows when it is time to tell again."""

    def __init__(self, site: Site, worker: str) -> None:
        self._site = site
        self._worker = worker
        self._due = 0.0
        self._changed: set[str] | None = None

    def service_changed(self, service: str) -> None:
        """Describe the functions of a service anew at the next look: they may go to another queue now."""
        if self._changed is not None:
            self._changed.add(service)
            self._due = 0.0

    def look(self, now: float) -> None:
        """Tell, where it is time to. It is tried again later where that fails: nobody waits for it."""
        if now < self._due:
            return
        self._due = now + TELL_S
        try:
            functions = [one for task in list(self._site.app.tasks.values()) for one in self._described(task)]
            for anew in (True, False):
                # Those that a newer worker may have described by now are only said to be known.
                told = [one for one in functions if self._is_news(one) is anew]
                self._site.catalogue.tell(told, worker=self._worker, anew=anew)
        except ExecutionsError as error:
            log(logger, "registry.unreachable", error=error, while_doing="functions")
        else:
            self._changed = set()

    def _is_news(self, function: Function) -> bool:
        return self._changed is None or function.service in self._changed

    def _described(self, task: Any) -> Iterator[Function]:
        if task.name in MACHINERY or task.name.startswith(_CELERYS_OWN):
            return
        try:
            yield replace(describe(task), queue=queue_of(self._site.app, task))
        except ExecutionsError:
            raise
        except Exception:
            # What a task's attributes are is its author's business, and no reason to say nothing of the others.
            log(logger, "function.undescribed", function=task.name, exc_info=True)
