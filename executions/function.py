"""What is known of a function: what it takes, the options it was declared with, who told of it last."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from executions import codec
from executions.annotation import LENGTH, takes, written
from executions.errors import InvalidInput
from executions.lazy import lazy
from executions.policy import FIELD_NAMES, NO_POLICY, Policy, parse_policy

#: Characters of a docstring's first line that are kept.
ABOUT_LENGTH = 200


@dataclass(frozen=True)
class Parameter:
    """One parameter; `kind` is Python's word for how it is given, such as `keyword_only`."""

    name: str
    kind: str
    required: bool
    #: Its annotation, as written.
    annotation: str = ""
    #: Its default, as written; nothing where there is none, `...` where it is long or no plain value.
    default: str = ""


@dataclass(frozen=True)
class Parameters:
    """What a function takes, without what is given to it by others than its caller."""

    each: tuple[Parameter, ...]

    @classmethod
    def of(cls, signature: inspect.Signature, redact: Collection[str] = ()) -> Parameters:
        """Read them from a signature; of those to `redact` the default is not told either."""
        return cls(tuple(_parameter(one, redact) for one in signature.parameters.values()))

    @lazy
    def positional(self) -> tuple[str, ...]:
        """The names of those that may be given by position, in their order."""
        return self._of_kind("positional_only", "positional_or_keyword")

    @lazy
    def by_name(self) -> tuple[str, ...]:
        """The names of those that may be given by name."""
        return self._of_kind("positional_or_keyword", "keyword_only")

    @lazy
    def required(self) -> tuple[str, ...]:
        """The names of those that have to be given."""
        return tuple(one.name for one in self.each if one.required)

    @lazy
    def annotations(self) -> dict[str, str]:
        """What is said of those that have a name."""
        return {one.name: one.annotation for one in self.each if not one.kind.startswith("var_")}

    def check(self, function: str, args: Sequence[Any], kwargs: Collection[str]) -> None:
        """Refuse arguments that the function cannot be called with; say which one is wrong."""
        if len(args) > len(self.positional) and not self._of_kind("var_positional"):
            raise InvalidInput(
                f"{function} takes {len(self.positional)} inputs by position, not {len(args)}; it takes {self}"
            )
        placed = self.positional[: len(args)]
        named = [name for name in kwargs if name in self.by_name]
        if len(named) < len(kwargs) and not self._of_kind("var_keyword"):
            unknown = next(name for name in kwargs if name not in named)
            raise InvalidInput(f"{function} has no input {unknown!r}; it takes {self}")
        for name in named:
            if name in placed:
                raise InvalidInput(f"{function} is given its input {name!r} twice; it takes {self}")
        for name in self.required:
            if name not in placed and name not in named:
                raise InvalidInput(f"{function} is missing its input {name!r}; it takes {self}")

    def check_types(self, function: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Refuse a value that its parameter's annotation rules out, as far as JSON can tell."""
        named = ((name, value) for name, value in kwargs.items() if name in self.by_name)
        for name, value in (*zip(self.positional, args, strict=False), *named):
            said = self.annotations.get(name, "")
            if said and not takes(said, value):
                # The value itself may be a secret.
                raise InvalidInput(f"{function} takes {name!r} as {said}, not as {type(value).__name__}")

    def edited(
        self, function: str, args: Sequence[Any], kwargs: Mapping[str, Any], changes: Mapping[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Give arguments with some of them changed by name, those too that are given by position."""
        places = dict(zip(self.positional, range(len(args)), strict=False))
        changed, named = list(args), dict(kwargs)
        for name, value in changes.items():
            if name in places:
                changed[places[name]] = value
            else:
                named[name] = value
        self.check(function, changed, named)
        self.check_types(function, changed, named)
        return changed, named

    def __str__(self) -> str:
        return ", ".join(repr(name) for name in dict.fromkeys((*self.positional, *self.by_name))) or "no inputs"

    def _of_kind(self, *kinds: str) -> tuple[str, ...]:
        return tuple(one.name for one in self.each if one.kind in kinds)


@dataclass(frozen=True, kw_only=True)
class Function:
    """A function as its workers, or its code, describe it."""

    name: str
    #: The first line of its docstring.
    about: str = ""
    #: What it takes; `None` where nobody can tell.
    parameters: Parameters | None = None
    policy: Policy = NO_POLICY
    tags: tuple[str, ...] = ()
    pipeline: str | None = None
    stage: str | None = None
    service: str | None = None
    queue: str | None = None
    priority: int | None = None
    expires: float | None = None
    #: Parameters that are not to be shown, and the names of all that have a position in its innermost code.
    redact: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    #: The worker that described it so, and when a worker last said that it knows it.
    told_by: str = ""
    told: datetime | None = None
    #: Whether a worker has said so lately.
    alive: bool = True

    def check(self, args: Sequence[Any], kwargs: Mapping[str, Any], service: str | None) -> None:
        """Refuse a call that would fail at once, or would not run under the service that it names."""
        self.check_service(service)
        # What nobody has confirmed for a while may have been deployed anew since, with other parameters.
        if self.parameters is not None and self.alive:
            self.parameters.check(self.name, args, kwargs)
            self.parameters.check_types(self.name, args, kwargs)

    def check_service(self, service: str | None) -> None:
        """Refuse a service that the function is not of: neither its limits nor its pause would hold for it."""
        if service and service != self.service:
            whose = f"of service {self.service!r}" if self.service else "of no service"
            raise InvalidInput(f"{self.name} is {whose}, so it cannot run under {service!r}")

    def as_dict(self) -> dict[str, Any]:
        """Give what it is, without who told it: plain values, and only what says something."""
        found: dict[str, Any] = {
            "about": self.about, "policy": self.policy.as_dict(), "tags": self.tags, "pipeline": self.pipeline,
            "stage": self.stage, "service": self.service, "queue": self.queue, "priority": self.priority,
            "expires": self.expires, "redact": self.redact, "places": self.places,
        }  # fmt: skip
        said: dict[str, Any] = {name: value for name, value in found.items() if value not in (None, "", (), {})}
        if self.parameters is not None:
            said["parameters"] = [list(_told(one)) for one in self.parameters.each]
        return said

    @classmethod
    def read(cls, name: str, said: Mapping[str, Any], **told: Any) -> Function:
        """Read what `as_dict` gave; fields of a newer version are left out."""
        parameters = said.get("parameters")
        policy = {key: value for key, value in said.get("policy", {}).items() if key in FIELD_NAMES}
        plain: dict[str, Any] = {key: said[key] for key in _PLAIN if key in said}
        several: dict[str, Any] = {key: tuple(said.get(key, ())) for key in ("tags", "redact", "places")}
        return cls(
            name=name,
            parameters=None if parameters is None else Parameters(tuple(Parameter(*one[:5]) for one in parameters)),
            policy=parse_policy(policy) if policy else NO_POLICY,
            **plain,
            **several,
            **told,
        )


#: Fields that are plain values.
_PLAIN = ("about", "pipeline", "stage", "service", "queue", "priority", "expires")


@lru_cache(maxsize=4096)
def describe(task: Any) -> Function:
    """Describe a function from its code, all but its queue, which may change while it runs."""
    priority, expires = getattr(task, "priority", None), getattr(task, "expires", None)
    return Function(
        name=task.name,
        about=(getattr(task, "__doc__", None) or "").strip().partition("\n")[0][:ABOUT_LENGTH],
        parameters=_parameters(task),
        policy=declared_policy(task),
        tags=tuple(dict.fromkeys(str(tag) for tag in getattr(task, "tags", None) or ())),
        pipeline=getattr(task, "pipeline", None),
        stage=getattr(task, "stage", None),
        service=getattr(task, "service", None),
        priority=priority if isinstance(priority, int) else None,
        expires=expires if isinstance(expires, int | float) else None,
        redact=tuple(getattr(task, "redact", None) or ()),
        places=_places(task),
    )


def declared_policy(task: Any) -> Policy:
    """Read the policy from a task's attributes, where its decorator's options end up."""
    given = {name: getattr(task, name) for name in FIELD_NAMES if getattr(task, name, None) is not None}
    if not isinstance(given.get("cache", True), bool | int | str):
        # An app's own classes may well keep something in an attribute of this name.
        del given["cache"]
    return parse_policy(given) if given else NO_POLICY


def _parameter(given: inspect.Parameter, redact: Collection[str]) -> Parameter:
    kind = given.kind.name.lower()
    required = given.default is given.empty and not kind.startswith("var_")
    return Parameter(given.name, kind, required, written(given), _default(given, redact))


def _default(given: inspect.Parameter, redact: Collection[str]) -> str:
    if given.default is given.empty:
        return ""
    if codec.looks_secret(given.name, redact):
        return codec.REDACTED
    # What is not plain may be written differently in each process, with its place in memory.
    text = repr(given.default) if codec.canonical(given.default) is not None else ""
    return text if 0 < len(text) <= LENGTH else "..."


def _told(one: Parameter) -> tuple[Any, ...]:
    told = (one.name, one.kind, one.required, one.annotation, one.default)
    return told if one.default else told[:4] if one.annotation else told[:3]


def _parameters(task: Any) -> Parameters | None:
    # As Celery itself does, not through a decorator's `__wrapped__`: it may give or take arguments of its own.
    # Celery's own wrapper, for `autoretry_for`, does not.
    run = getattr(task, "_orig_run", None) or getattr(task, "run", None)
    try:
        signature = inspect.signature(run, follow_wrapped=False)  # type: ignore[arg-type]
        return Parameters.of(signature, getattr(task, "redact", None) or ())
    except (TypeError, ValueError):
        return None


def _places(task: Any) -> tuple[str, ...]:
    code = getattr(inspect.unwrap(getattr(task, "run", None)), "__code__", None)  # type: ignore[arg-type]
    if code is None:
        return ()
    names: tuple[str, ...] = code.co_varnames[: code.co_argcount]
    return names[1:] if names[:1] == ("self",) else names
