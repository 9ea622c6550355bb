"""Which code submitted an execution, and which ran it: told once for each process, referred to by each record."""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import asdict
from pathlib import Path

from executions import git
from executions.clock import SYSTEM_CLOCK
from executions.errors import ExecutionsError
from executions.execution import Code
from executions.git import Checkout
from executions.lazy import lazy
from executions.registry import keys
from executions.registry.connection import translated
from executions.registry.space import Space
from executions.telemetry import log

logger = logging.getLogger(__name__)

#: Days that what was told outlives the retention: a process tells again each day, an execution may run for a while.
SLACK_S = 30 * 24 * 3600
TELL_EVERY_S = 24 * 3600


class Checkouts:
    """What this process runs, and what others said that they run."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._told: float | None = None
        self._known: dict[str, Code] = {}

    @lazy
    def _own(self) -> Checkout | None:
        settings = self._space.settings
        if settings.git_commit:
            return git.given(settings.git_commit, settings.git_branch, settings.git_repository)
        try:
            return git.checkout_at(Path.cwd())
        except OSError:  # somebody removed the folder that this process is in
            return None

    def own(self) -> Checkout | None:
        """Give what this process runs. The rest of it is told to the registry meanwhile, from a thread."""
        own, now = self._own, SYSTEM_CLOCK.monotonic()
        if own is not None and (self._told is None or now - self._told > TELL_EVERY_S):
            self._told = now
            threading.Thread(target=self._tell, args=(own,), name="executions-git", daemon=True).start()
        return own

    def _tell(self, own: Checkout) -> None:
        try:
            self._write(own.id, git.described(own))
        except ExecutionsError:
            # The commit and the branch are on the record all the same.
            log(logger, "code.untold", commit=own.commit, exc_info=True)

    @translated
    def _write(self, told: str, code: Code) -> None:
        text = json.dumps({name: value for name, value in asdict(code).items() if value is not None})
        life_s = self._space.settings.retention_s + SLACK_S
        self._space.client.set(keys.code(self._space.namespace, told), text, ex=life_s)

    @translated
    def rest_of(self, told: str, code: Code) -> Code:
        """Complete what a record says of its code by what its process told; as it is where that is not known."""
        if told not in self._known:
            text = self._space.client.get(keys.code(self._space.namespace, told))
            if text is None:
                return code
            if len(self._known) >= 1000:
                self._known.clear()
            self._known[told] = Code(**json.loads(text))
        return self._known[told]
