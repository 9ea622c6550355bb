"""What one process knows of an installed app: where its registry is, and which worker it is part of."""

from __future__ import annotations

import ctypes
import itertools
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from celery import Celery

from executions.celery.services import register_functions
from executions.client import Client
from executions.context import Running
from executions.dispatch import Dispatcher, plain_broker_url
from executions.errors import ExecutionsError, InvalidSetting
from executions.function import Function, describe
from executions.lazy import lazy
from executions.parts import Parts
from executions.policy import (
    BUILT_IN,
    DEFAULT_EXECUTION_TIMEOUT_S,
    FIELD_NAMES,
    NO_POLICY,
    Policy,
    parse_policy,
)
from executions.registry.address import registry_at, same_server
from executions.registry.workers import PROCESS_BYTES, term_of
from executions.settings import Settings
from executions.slots import Slots

#: Options of a function besides its policy.
FUNCTION_OPTIONS = FIELD_NAMES | {"tags", "pipeline", "stage", "redact", "service"}


@dataclass
class Place:
    """Where in the fleet this process is."""

    worker: str
    pool: str
    slots: Slots
    #: The slot of this child process; `None` where each thread or greenlet claims one.
    own_slot: int | None = None
    #: What runs in this process, by slot.
    running: dict[int, Running] = field(default_factory=dict)
    #: Names this process, whatever its terms; see registry/workers.py and registry/held.py.
    process: str = field(default_factory=lambda: secrets.token_hex(PROCESS_BYTES))
    #: Numbers the terms of this process, and the channels that hold messages.
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    #: What channels of this process held when they were lost: holder, sources, and until when to look there.
    left: list[tuple[str, list[str], float]] = field(default_factory=list)
    #: When the broker last answered this worker's consumer, or the consumer wanted nothing (monotonic seconds).
    progress: float | None = None
    #: When its main loop last turned: all that is known over some transports, see rabbitmq.py.
    turned: float | None = None
    #: Whether that is too long ago.
    stalled: bool = False
    #: Tells whether the system has just killed for want of memory.
    memory_ran_out: Callable[[], bool] = lambda: False
    #: Held by whoever raises an exception in running code, and by code that is about to be left.
    lock: threading.Lock = field(default_factory=threading.Lock)

    def new_term(self) -> str:
        """Give the name of this process's next term."""
        return term_of(self.worker, self.process, next(self.numbers))

    def quieten(self, running: Running) -> None:
        """Have nothing raised any more in what ran; take back what was raised and has not arrived."""
        with self.lock:
            self.running.pop(running.slot, None)
            if self.pool == "threads":
                _set_async_exc(ctypes.c_ulong(threading.get_ident()), None)


_set_async_exc = ctypes.pythonapi.PyThreadState_SetAsyncExc


class Site(Parts):
    """One installed app in one process."""

    def __init__(self, app: Celery, registry_url: str | None = None) -> None:
        super().__init__()
        self.app = app
        self.registry_url = registry_url
        #: Set in workers only.
        self.place: Place | None = None

    @lazy
    def settings(self) -> Settings:
        """The settings, with the registry where the app's broker is unless said otherwise."""
        found = Settings.from_env(url=self.registry_url)
        if self.registry_url or os_has_url():
            return found
        broker = str(self.app.conf.broker_url or "")
        url = registry_at(broker, self.app.conf.broker_transport_options or {})
        if url:
            return Settings.from_env(url=url)
        if broker:
            raise InvalidSetting(
                "the broker is not Redis, so the registry needs a URL of its own: "
                "install(app, registry='redis://...') or EXECUTIONS_URL"
            )
        return found

    @lazy
    def is_one_server(self) -> bool:
        """Whether the registry is in the very database that the messages go to."""
        broker = self.app.conf.broker_url
        return isinstance(broker, str) and same_server(plain_broker_url(broker), self.settings.url)

    @lazy
    def dispatcher(self) -> Dispatcher:
        return Dispatcher(self.app)

    @lazy
    def client(self) -> Client:
        return Client(self)

    @lazy
    def here(self) -> Place:
        """This process's place; outside a worker, one that eager runs can use."""
        return self.place or Place(f"eager@{os.uname().nodename}", "eager", Slots(1024))

    @property
    def has_app(self) -> bool:
        return True

    def register(self, service: str, functions: dict[str, Callable[..., Any]], queue: str | None) -> None:
        register_functions(self.app, service, functions, self._queue_of(service, queue))

    def _queue_of(self, service: str, declared: str | None) -> Callable[[], str | None]:
        """Give what tells a service's queue as it is now; the declared one while the registry is away."""

        def queue() -> str | None:
            try:
                state = self.services.state(service)
            except ExecutionsError:
                return declared
            return state.settings.queue if state is not None else declared

        return queue

    def tell_followers(self, execution_id: str) -> bool:
        told: bool = self.app.backend.tell_followers(execution_id)
        return told

    def function(self, name: str) -> Function | None:
        task = self.app.tasks.get(name)
        return super().function(name) if task is None else describe(task)

    def queue_of(self, function: Function) -> str | None:
        task = self.app.tasks.get(function.name)
        return function.queue if task is None else queue_of(self.app, task)

    def function_policy(self, name: str) -> Policy:
        """Give the policy that a function was declared with; functions with options of ours have a time limit."""
        task = self.app.tasks.get(name)
        return NO_POLICY if task is None else describe(task).policy

    def policy(self, name: str, call: dict[str, Any], service: Policy = NO_POLICY) -> Policy:
        """Give what holds for one call: call over function over service over what is built in."""
        given = {key: value for key, value in call.items() if key in FIELD_NAMES}
        declared = self.function_policy(name)
        function = declared.over(service).over(BUILT_IN)
        if declared is not NO_POLICY and function.execution_timeout is None:
            function = Policy(execution_timeout=DEFAULT_EXECUTION_TIMEOUT_S).over(function)
        return parse_policy(given).over(function) if given else function


def queue_of(app: Celery, task: Any) -> str | None:
    """Give the queue that a task's messages go to; `None` where that depends on more than its name."""
    declared = getattr(task, "queue", None)
    if declared:
        return str(declared)
    try:
        # Not `route()`, which makes the queue one that this process consumes.
        route = app.amqp.router.lookup_route(task.name, (), {}, {}, task)
    except Exception:  # a router is the user's own code, and may want arguments
        return None
    if route:
        queue = route.get("queue")
        return str(getattr(queue, "name", queue)) if queue else None
    return str(app.conf.task_default_queue)


def os_has_url() -> bool:
    """Tell whether the environment names a registry."""
    return Settings.from_env().url != Settings().url


def site_of(app: Celery) -> Site | None:
    """Give the site of an installed app."""
    return getattr(app, "_executions_site", None)


def client_of(app: Celery, url: str | None = None, **settings: Any) -> Client:
    """Give the client of an app and install nothing: its own, or one for where its broker is.

    With a `url` or other settings, it is one for that registry that sends through the app.
    """
    changed = {name: value for name, value in settings.items() if value is not None}
    site = site_of(app)
    if site is None or url or changed:
        site = Site(app, url or (site.registry_url if site else None))
        site.settings = replace(site.settings, **changed)
    return site.client
