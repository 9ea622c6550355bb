"""Services: named sets of functions with one policy, as the registry keeps them and as a user holds them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Protocol

from executions.errors import InvalidInput, InvalidSetting
from executions.execution import Execution
from executions.policy import (
    DEFAULT_EXECUTION_TIMEOUT_S,
    FIELD_NAMES,
    Policy,
    check_natural,
    check_on_reset,
    parse_policy,
)

#: Seconds that running executions get to finish under the old version, unless the service says otherwise.
DEFAULT_DRAIN_TIME_S = 600

#: A service's name is part of keys, of task names and of queries.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """What can be set of a service. Where a field may be `None`, that means: as without a service."""

    execution_timeout: int = DEFAULT_EXECUTION_TIMEOUT_S
    on_reset: str = "failed"
    max_attempts: int | None = None
    #: How many executions of the service may run at once, in the whole fleet.
    concurrency: int | None = None
    #: The queue that its executions go to.
    queue: str | None = None
    drain_time: int = DEFAULT_DRAIN_TIME_S
    retry_on: tuple[str, ...] | None = None
    give_up_on: tuple[str, ...] | None = None
    backoff_delay: float | None = None
    backoff_factor: float | None = None
    backoff_max: float | None = None
    backoff_jitter: bool | None = None
    cache: bool | None = None
    cache_version: str | None = None
    cache_ttl: int | None = None

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> ServiceSettings:
        """Check the given values; refuse each bad one by its name."""
        unknown = set(values) - SETTING_NAMES
        if unknown:
            raise InvalidSetting(f"unknown service setting {min(unknown)!r}; known: {', '.join(sorted(SETTING_NAMES))}")
        given = {name: value for name, value in values.items() if name in FIELD_NAMES and name not in _NEEDED}
        checked: dict[str, Any] = parse_policy(given).as_dict()
        for name in _NEEDED & values.keys():
            checked[name] = _NEEDED_CHECKS[name](name, values[name])
        if values.get("concurrency") is not None:
            checked["concurrency"] = check_natural("concurrency", values["concurrency"])
        if values.get("queue") is not None:
            checked["queue"] = _check_queue(values["queue"])
        return cls(**checked)

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> ServiceSettings:
        """Read what `as_dict` wrote; settings of a newer version are left out."""
        known: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in raw.items()
            if name in SETTING_NAMES
        }
        return cls(**known)

    def as_dict(self) -> dict[str, Any]:
        """Give the settings that say something."""
        return {name: value for name in _SETTING_ORDER if (value := getattr(self, name)) is not None}

    @property
    def policy(self) -> Policy:
        """The part that is a policy for executions."""
        return Policy(**{name: value for name, value in self.as_dict().items() if name in FIELD_NAMES})

    @property
    def drain_s(self) -> int:
        """Seconds that an execution of an older version may still run."""
        return min(self.drain_time, self.execution_timeout)


_SETTING_ORDER = tuple(f.name for f in fields(ServiceSettings))
SETTING_NAMES = frozenset(_SETTING_ORDER)

#: Settings that always have a value; for the others `None` is one.
_NEEDED_CHECKS = {
    "execution_timeout": check_natural,
    "on_reset": check_on_reset,
    "drain_time": check_natural,
}
_NEEDED = frozenset(_NEEDED_CHECKS)


def _check_queue(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidSetting(f"queue must be the name of a queue, not {value!r}")
    return value


def check_service_name(name: Any) -> str:
    """Accept what can be the name of a service."""
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise InvalidInput(
            f"a service's name must be letters, digits, '_', '-' and '.', at most 100 of them, not {name!r}"
        )
    return name


@dataclass(frozen=True, kw_only=True)
class ServiceState:
    """One service as the registry has it."""

    name: str
    id: str
    version: int
    settings: ServiceSettings
    #: The functions by the name that `execute` takes; each with the name of its task.
    functions: Mapping[str, str] = field(default_factory=dict)
    paused: bool = False
    updated_by: str = ""
    created: datetime | None = None
    updated: datetime | None = None
    #: The newest version that was put in force at once: what runs under an older one is ended.
    forced: int = 0


def changes_between(old: ServiceSettings, new: ServiceSettings) -> str:
    """Say which settings differ, for people."""
    before, after = old.as_dict(), new.as_dict()
    names = [name for name in _SETTING_ORDER if before.get(name) != after.get(name)]
    return ", ".join(f"{name} from {before.get(name)!r} to {after.get(name)!r}" for name in names)


class ServiceVerbs(Protocol):
    """What a service asks its client to do."""

    def get(self, name: str) -> Service: ...
    def write(self, known: ServiceState, settings: ServiceSettings, force: bool) -> Service: ...
    def execute(self, name: str, function: str, inputs: Any, options: dict[str, Any]) -> Execution: ...
    def set_paused(self, name: str, paused: bool) -> Service: ...
    def delete(self, name: str) -> None: ...


class Service:
    """A service as it was when it was read. Settings are plain attributes; only `update()` makes them count."""

    __slots__ = (*_SETTING_ORDER, "_state", "_verbs")

    execution_timeout: Any
    on_reset: Any
    max_attempts: Any
    concurrency: Any
    queue: Any
    drain_time: Any
    retry_on: Any
    give_up_on: Any
    backoff_delay: Any
    backoff_factor: Any
    backoff_max: Any
    backoff_jitter: Any
    cache: Any
    cache_version: Any
    cache_ttl: Any

    def __init__(self, state: ServiceState, verbs: ServiceVerbs) -> None:
        self._state = state
        self._verbs = verbs
        for name in _SETTING_ORDER:
            setattr(self, name, getattr(state.settings, name))

    @property
    def name(self) -> str:
        """Its name."""
        return self._state.name

    @property
    def id(self) -> str:
        """Its id; a service that is removed and deployed again has another."""
        return self._state.id

    @property
    def version(self) -> int:
        """The number of its policy: one more with each update."""
        return self._state.version

    @property
    def functions(self) -> tuple[str, ...]:
        """The functions that `execute` takes."""
        return tuple(sorted(self._state.functions))

    @property
    def paused(self) -> bool:
        """Whether its executions wait until it is resumed."""
        return self._state.paused

    @property
    def updated_by(self) -> str:
        """Who changed it last."""
        return self._state.updated_by

    @property
    def created(self) -> datetime | None:
        """When it was deployed first."""
        return self._state.created

    @property
    def updated(self) -> datetime | None:
        """When it was changed last."""
        return self._state.updated

    def update(self, force: bool = False) -> Service:
        """Check the settings and put them in force; gives the service with its next version.

        What runs goes on under the old version, for `drain_time` or the time limit, whichever is less; with
        `force` it ends at once and `on_reset` decides what follows. Raises `InvalidSetting` for a value that
        cannot be used, and `Conflict` where somebody else has updated the service since this was read.
        """
        settings = ServiceSettings.parse({name: getattr(self, name) for name in _SETTING_ORDER})
        return self._verbs.write(self._state, settings, force)

    def execute(
        self,
        function: str,
        sync: bool = False,
        return_output: bool = False,
        inputs: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Run one of the functions: gives its execution at once, with `sync` after its end, or its output.

        Keywords are the function's inputs and the options of `Client.submit`; with `inputs={...}` they are
        options only. `return_output` waits and gives what the function returned, or raises what it raised.
        """
        execution = self._verbs.execute(self.name, function, inputs, kwargs)
        if return_output:
            return execution.result()
        return execution.wait() if sync else execution

    def pause(self) -> Service:
        """Let nothing more of this service start; what is submitted waits, what runs goes on."""
        return self._verbs.set_paused(self.name, True)

    def resume(self) -> Service:
        """Let the waiting ones start, in the order in which they came."""
        return self._verbs.set_paused(self.name, False)

    def refresh(self) -> Service:
        """Read it again."""
        return self._verbs.get(self.name)

    def remove(self) -> None:
        """Forget the service and its policy; its executions stay on record. Refused while some wait for it."""
        self._verbs.delete(self.name)

    def __repr__(self) -> str:
        state = "paused" if self.paused else "active"
        return f"<Service {self.name} version {self.version}, {state}: {', '.join(self.functions)}>"
