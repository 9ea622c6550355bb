"""What a worker hears from the fleet's clients: stops, and services that changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from executions.celery.site import Site
from executions.registry.workers import StopCommand, read_command


class Ear:
    """A subscription to the commands. What it misses the next beat brings: commands are pushed to be fast only."""

    def __init__(
        self,
        site: Site,
        name: str,
        *,
        on_stop: Callable[[StopCommand], None],
        on_service: Callable[[str], None],
        on_drain: Callable[[bool], None],
    ) -> None:
        self._site = site
        self._name = name
        self._on_stop = on_stop
        self._on_service = on_service
        self._on_drain = on_drain
        self._subscription: Any = None

    def listen(self, seconds: float) -> None:
        """Wait for commands, and obey those that come."""
        if self._subscription is None:
            self._subscription = self._site.workers.subscribe()
        message = self._subscription.get_message(timeout=seconds)
        while message is not None:
            self._obey(read_command(message))
            message = self._subscription.get_message(timeout=0)

    def forget(self) -> None:
        """Subscribe anew at the next chance: the connection is of no use any more."""
        self._subscription = None

    def _obey(self, command: dict[str, Any]) -> None:
        if command["do"] == "stop" and command["worker"] == self._name:
            self._on_stop(StopCommand(command["id"], command["attempt"], command["mode"], command["grace_s"]))
        elif command["do"] == "drain" and command["worker"] == self._name:
            self._on_drain(command["on"])
        elif command["do"] == "services":
            self._site.services.forget(command["name"])
            self._on_service(command["name"])
            if command.get("answer"):
                self._site.services.answer(command["answer"], self._name)
