"""What a process needs to reach one registry and its broker, each part made when it is first used."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

from executions.dispatch import Dispatcher
from executions.function import Function
from executions.lazy import lazy
from executions.payloads import Payloads
from executions.registry.address import same_server
from executions.registry.audit import AuditLog
from executions.registry.cache import Cache
from executions.registry.catalogue import Catalogue
from executions.registry.checkouts import Checkouts
from executions.registry.edits import Edits
from executions.registry.logs import Logs
from executions.registry.people import People
from executions.registry.services import Services
from executions.registry.space import Space
from executions.registry.transitions import Transitions
from executions.registry.workers import Workers
from executions.settings import Settings


class Parts:
    """The parts, by name. Nothing is asked of any server before the first use."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._given = settings

    @lazy
    def settings(self) -> Settings:
        return self._given or Settings.from_env()

    @lazy
    def space(self) -> Space:
        return Space(self.settings)

    @lazy
    def transitions(self) -> Transitions:
        return Transitions(self.space, self.checkouts.own)

    @lazy
    def logs(self) -> Logs:
        return Logs(self.space)

    @lazy
    def cache(self) -> Cache:
        return Cache(self.space)

    @lazy
    def services(self) -> Services:
        return Services(self.space)

    @lazy
    def catalogue(self) -> Catalogue:
        return Catalogue(self.space)

    @lazy
    def checkouts(self) -> Checkouts:
        return Checkouts(self.space)

    @lazy
    def workers(self) -> Workers:
        return Workers(self.space)

    @lazy
    def edits(self) -> Edits:
        return Edits(self.space)

    @lazy
    def people(self) -> People:
        return People(self.space)

    @lazy
    def audit(self) -> AuditLog:
        return AuditLog(self.space)

    @lazy
    def payloads(self) -> Payloads:
        return Payloads(self.settings.payloads, lambda: self.space.identity)

    def acting_as(self, principal: str) -> Self:
        """Give the same parts for somebody else, in whose name everything is done."""
        # What both need is made before there are two, so that it is not made twice.
        for name in _SHARED:
            getattr(self, name)
        twin = copy.copy(self)
        twin.__dict__["settings"] = replace(self.settings, principal=principal)
        return twin

    def register(self, service: str, functions: dict[str, Callable[..., Any]], queue: str | None) -> None:
        """Make the functions of a service known to this process's app, where it has one."""

    def tell_followers(self, execution_id: str) -> bool:
        """Tell who waits for an execution that it has ended; False where somebody is at it. It takes an app."""
        return True

    def function(self, name: str) -> Function | None:
        """Give what is known of a function: from its code where that is here, else as the workers say."""
        return self.catalogue.function(name)

    def queue_of(self, function: Function) -> str | None:
        """Give the queue that a function's calls go to, where that is known."""
        return function.queue

    @property
    def has_app(self) -> bool:
        """Whether this process has an app that functions can be registered with."""
        return False

    @lazy
    def sends_with_rows(self) -> bool:
        """Whether a message goes out in the very step that writes its row: the registry's server is the broker."""
        # What an app configures, a prefix or queues of other kinds, is for its own connections to heed.
        return not self.has_app and same_server(self.settings.broker_url, self.settings.url)

    @lazy
    def dispatcher(self) -> Dispatcher:
        return Dispatcher.to(self.settings.broker_url)


#: Parts that hold connections, or what was read.
_SHARED = ("space", "transitions", "services", "catalogue", "workers", "payloads", "dispatcher")
