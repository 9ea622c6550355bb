"""`client.services`: the services of a registry, and how code deploys one."""

from __future__ import annotations

import logging
from typing import Any

from executions import parking
from executions.client.submit import OPTIONS, Submitter, with_inputs
from executions.errors import InvalidInput, NotFound, Unavailable
from executions.execution import Execution
from executions.parts import Parts
from executions.registry.service_records import Declaration
from executions.service import Service, ServiceSettings, ServiceState, check_service_name
from executions.service_runner import functions_of
from executions.telemetry import log

logger = logging.getLogger(__name__)


class ServicesView:
    """Deploy, get and list services."""

    def __init__(self, parts: Parts, submitter: Submitter) -> None:
        self._parts = parts
        self._verbs = _Verbs(parts, submitter)

    def deploy(self, target: Any, *, name: str, **settings: Any) -> Service:
        """Make a service of a `ServiceRunner` class, a function, or several functions.

        Settings: `execution_timeout=3600`, `on_reset="failed"`, `max_attempts`, `concurrency`, `queue`,
        `drain_time=600`, `retry_on`, `give_up_on`, `backoff_delay`, `backoff_factor`, `backoff_max`,
        `backoff_jitter`. On a client made by `install(app)` each function becomes a task `<name>.<function>`.

        Deploying again is what every start of a worker does: it changes nothing, also nothing that was
        updated since, unless the code declares something else than before; that makes a new version.
        """
        check_service_name(name)
        checked = ServiceSettings.parse(settings)
        functions = functions_of(target)
        self._parts.register(name, functions, checked.queue)
        declared = Declaration(
            name, checked, {one: f"{name}.{one}" for one in functions}, self._parts.settings.principal
        )
        try:
            state = self._parts.services.deploy(declared)
        except Unavailable as error:
            if not self._parts.has_app:
                raise
            log(logger, "service.undeclared", service=name, error=error)
            state = self._parts.services.deploy_later(declared)
        return Service(state, self._verbs)

    def get(self, name: str) -> Service:
        """Read one service by its name; raises `NotFound`."""
        return self._verbs.get(name)

    def list(self) -> list[Service]:
        """Read all services, by name."""
        return [Service(state, self._verbs) for state in self._parts.services.all()]


class _Verbs:
    """Implements `service.ServiceVerbs`."""

    def __init__(self, parts: Parts, submitter: Submitter) -> None:
        self._parts = parts
        self._submitter = submitter

    def get(self, name: str) -> Service:
        return Service(self._read(name), self)

    def write(self, known: ServiceState, settings: ServiceSettings, force: bool) -> Service:
        principal = self._parts.settings.principal
        state = self._parts.services.update(known, settings, principal=principal, force=force)
        if state.settings.concurrency != known.settings.concurrency:
            parking.count_running(self._parts, state)
            parking.wake(self._parts, state.name)
        return Service(state, self)

    def execute(self, name: str, function: str, inputs: Any, options: dict[str, Any]) -> Execution:
        state = self._read(name)
        task = state.functions.get(function)
        if task is None:
            known = ", ".join(sorted(state.functions)) or "none"
            raise InvalidInput(f"service {name!r} has no function {function!r}; it has: {known}")
        given = {key: value for key, value in options.items() if key in OPTIONS}
        arguments = {key: value for key, value in options.items() if key not in OPTIONS}
        args, arguments = with_inputs((), arguments, inputs)
        given |= {"service": name, "queue": given.get("queue") or state.settings.queue}
        return self._submitter.resubmit(task, args, arguments, given)

    def set_paused(self, name: str, paused: bool) -> Service:
        state = self._parts.services.set_paused(name, paused, principal=self._parts.settings.principal)
        if not paused:
            parking.wake(self._parts, name)
        return Service(state, self)

    def delete(self, name: str) -> None:
        self._parts.services.remove(name)

    def _read(self, name: str) -> ServiceState:
        state = self._parts.services.current(name)
        if state is None:
            raise NotFound(f"no service {name!r}: it was never deployed, or it was removed")
        return state
