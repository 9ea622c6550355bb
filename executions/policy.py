"""What may happen to an execution: its time limit, its attempts, its retries. Pure decisions."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from executions.errors import InvalidSetting

ON_RESET = ("failed", "rerun")

#: Seconds that services, and functions with options of ours, may run unless they say otherwise.
DEFAULT_EXECUTION_TIMEOUT_S = 3600

#: How often a function with `retry_on` or `on_reset="rerun"` is tried when `max_attempts` is not given.
DEFAULT_RETRY_ATTEMPTS = 3

#: Attempts that may end with a lost worker before an execution is given up as poison.
DEFAULT_CRASH_CAP = 3


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The rules for one execution. A field that is `None` says nothing and leaves the choice to the next layer."""

    execution_timeout: int | None = None
    on_reset: str | None = None
    max_attempts: int | None = None
    retry_on: tuple[str, ...] | None = None
    give_up_on: tuple[str, ...] | None = None
    backoff_delay: float | None = None
    backoff_factor: float | None = None
    backoff_max: float | None = None
    backoff_jitter: bool | None = None
    cache: bool | None = None
    cache_version: str | None = None
    cache_ttl: int | None = None
    #: Of a call: compute anew, and let later calls reuse that.
    overwrite_cache: bool | None = None

    @property
    def caches(self) -> bool:
        """Whether the output may be that of an earlier execution, or be reused by a later one."""
        return bool(self.cache or self.overwrite_cache)

    def over(self, other: Policy) -> Policy:
        """Lay this policy over another: what this one leaves open, the other decides."""
        own = self.as_dict()
        return replace(other, **own) if own else other

    def as_dict(self) -> dict[str, Any]:
        """Give the fields that say something."""
        return {name: value for name, value in vars(self).items() if value is not None}


NO_POLICY = Policy()
FIELD_NAMES = frozenset(f.name for f in fields(Policy))

#: What holds where nobody said anything about retries.
BUILT_IN = Policy(
    on_reset="failed",
    backoff_delay=1.0,
    backoff_factor=2.0,
    backoff_max=600.0,
    backoff_jitter=True,
)


def parse_policy(values: Mapping[str, Any]) -> Policy:
    """Check the given values and make a policy of them; refuse each bad one by name."""
    if not values:
        return NO_POLICY
    unknown = set(values) - FIELD_NAMES
    if unknown:
        raise InvalidSetting(f"unknown policy setting {min(unknown)!r}; known: {', '.join(sorted(FIELD_NAMES))}")
    checked: dict[str, Any] = {name: _CHECKS[name](name, value) for name, value in values.items() if value is not None}
    return Policy(**checked)


def check_natural(name: str, value: Any) -> int:
    """Accept a positive whole number and nothing that merely looks like one."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidSetting(f"{name} must be a positive whole number, not {value!r}")
    return value


def check_on_reset(name: str, value: Any) -> str:
    """Accept one of the two words."""
    if value not in ON_RESET:
        raise InvalidSetting(f"{name} must be 'failed' or 'rerun', not {value!r}")
    return str(value)


def _check_seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise InvalidSetting(f"{name} must be a number of seconds, not {value!r}")
    return float(value)


def _check_errors(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str | type):
        value = (value,)
    if not isinstance(value, Iterable):
        raise InvalidSetting(f"{name} must be exception types or their names, not {value!r}")
    return tuple(_error_name(name, item) for item in value)


def _error_name(name: str, item: Any) -> str:
    if isinstance(item, str):
        return item
    if isinstance(item, type) and issubclass(item, BaseException):
        return item.__qualname__ if item.__module__ == "builtins" else f"{item.__module__}.{item.__qualname__}"
    raise InvalidSetting(f"{name} must be exception types or their names, not {item!r}")


def _check_bool(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidSetting(f"{name} must be True or False, not {value!r}")
    return value


def _check_version(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidSetting(f"{name} must be a text, not {value!r}")
    return value


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "execution_timeout": check_natural,
    "on_reset": check_on_reset,
    "max_attempts": check_natural,
    "retry_on": _check_errors,
    "give_up_on": _check_errors,
    "backoff_delay": _check_seconds,
    "backoff_factor": _check_seconds,
    "backoff_max": _check_seconds,
    "backoff_jitter": _check_bool,
    "cache": _check_bool,
    "cache_version": _check_version,
    "cache_ttl": check_natural,
    "overwrite_cache": _check_bool,
}


@dataclass(frozen=True)
class Retry:
    """The decision to try again."""

    delay_s: float


@dataclass(frozen=True)
class GiveUp:
    """The decision not to try again."""

    why: str


def after_error(policy: Policy, error: BaseException, attempt: int, chance: float | None = None) -> Retry | GiveUp:
    """Decide what follows an exception of the user's code in attempt number `attempt`."""
    if not policy.retry_on:
        return GiveUp("no retry policy")
    if _matches(error, policy.give_up_on or ()):
        return GiveUp(f"{type(error).__name__} is in give_up_on")
    if not _matches(error, policy.retry_on):
        return GiveUp(f"{type(error).__name__} is not in retry_on")
    allowed = policy.max_attempts or DEFAULT_RETRY_ATTEMPTS
    if attempt >= allowed:
        return GiveUp(f"attempt {attempt} of {allowed}")
    return Retry(backoff(policy, attempt, chance))


def after_reset(policy: Policy, attempt: int) -> Retry | GiveUp:
    """Decide what follows a timeout, a forced update or a lost worker."""
    if policy.on_reset != "rerun":
        return GiveUp("on_reset is 'failed'")
    allowed = policy.max_attempts or DEFAULT_RETRY_ATTEMPTS
    if attempt >= allowed:
        return GiveUp(f"attempt {attempt} of {allowed}")
    return Retry(0.0)


def poisoned(message: str, losses: int) -> str:
    """Say why there is no attempt after the one that ended like this."""
    return f"{message}; {losses} attempts ended with a lost worker, so it is not tried again"


def write_reset(policy: Policy) -> str:
    """Write what a reset means under a policy, for whoever finds the execution without its code; empty for `failed`."""
    return f"rerun/{policy.max_attempts or ''}" if policy.on_reset == "rerun" else ""


def read_reset(written: str, call: Mapping[str, Any]) -> Policy:
    """Read what a reset means: the options of the call over what its worker wrote."""
    on_reset, _, most = written.partition("/")
    below = Policy(on_reset=on_reset or None, max_attempts=int(most) if most else None).over(BUILT_IN)
    given = {name: call[name] for name in ("on_reset", "max_attempts") if call.get(name) is not None}
    return parse_policy(given).over(below)


def backoff(policy: Policy, attempt: int, chance: float | None = None) -> float:
    """Give the seconds to wait after attempt number `attempt`: exponential, capped, with full jitter's upper half."""
    delay = (policy.backoff_delay or 0.0) * (policy.backoff_factor or 1.0) ** (attempt - 1)
    delay = min(delay, policy.backoff_max or delay)
    if not policy.backoff_jitter:
        return delay
    return delay * (0.5 + 0.5 * (random.random() if chance is None else chance))


def _matches(error: BaseException, names: Iterable[str]) -> bool:
    known = {cls.__qualname__ for cls in type(error).__mro__}
    known |= {f"{cls.__module__}.{cls.__qualname__}" for cls in type(error).__mro__}
    return any(name in known for name in names)
