"""`ServiceRunner`: a class whose public methods are a service's functions, made once in each worker process.

What is slow to load is loaded in `__init__`, at the first call in a process, and every further call finds it.
"""

from __future__ import annotations

import functools
import inspect
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from executions import context
from executions.errors import InvalidInput
from executions.function import Parameters

#: The parameter that gets a `Progress`.
INJECTED = "progress"


class ServiceRunner:
    """Base of a service's class. Each public method is a function that can be executed by its name."""

    _reset_wanted = False

    def kill_event(self) -> None:
        """Stop here if somebody asked for it or the time is up: the same as `executions.checkpoint()`."""
        context.checkpoint()

    def do_reset(self) -> None:
        """Let go of this instance: the next call in this process makes a new one.

        Called by the library when the service was updated, after the last call on this instance. Override it
        to free what the instance holds (and call this one).
        """
        self._reset_wanted = True


class Holder:
    """Keeps the one instance of a runner class that this process has."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._held: _Held | None = None

    @contextmanager
    def instance(self, version: int) -> Iterator[Any]:
        """Give the instance for one call; a newer version of the service gets a new instance."""
        with self._lock:
            held = self._current(version)
            held.users += 1
        try:
            yield held.instance
        finally:
            with self._lock:
                held.users -= 1
                self._retire_if_over(held)

    def _current(self, version: int) -> _Held:
        held = self._held
        # An instance from before a fork belongs to the parent: its connections and threads are not here.
        if held is not None and held.pid == os.getpid() and held.version >= version and not held.over:
            return held
        if held is not None and held.pid == os.getpid():
            held.over = True
            self._retire_if_over(held)
        self._held = _Held(self._make(), version)
        return self._held

    def _retire_if_over(self, held: _Held) -> None:
        if getattr(held.instance, "_reset_wanted", False):
            held.over = True
        elif held.over and held.users == 0 and not held.told:
            held.told = True
            reset = getattr(held.instance, "do_reset", None)
            if reset is not None:
                reset()


class _Held:
    def __init__(self, instance: Any, version: int) -> None:
        self.instance = instance
        self.version = version
        self.pid = os.getpid()
        self.users = 0
        #: No further call gets it.
        self.over = False
        #: Its `do_reset` has been called.
        self.told = False


def functions_of(target: Any) -> dict[str, Callable[..., Any]]:
    """Give the callables that a runner class, a function, or a collection of functions offers, by name.

    Each takes the inputs by name, with a `Progress` where it asks for one, and refuses others before it runs.
    """
    if isinstance(target, type):
        found = _methods(target)
    elif isinstance(target, Mapping):
        found = {str(name): _checked(str(name), function) for name, function in target.items()}
    else:
        several = target if isinstance(target, list | tuple | set | frozenset) else (target,)
        found = {function_label(one): _checked(function_label(one), one) for one in several}
    if not found:
        raise InvalidInput(f"{target!r} has no public functions to deploy")
    odd = [name for name in found if not name.isidentifier()]
    if odd:
        raise InvalidInput(f"a function of a service needs a name, not {odd[0]!r}: deploy {{'name': function}}")
    return found


def function_label(function: Any) -> str:
    """Give the name that a plain function has in its service."""
    name = getattr(function, "__name__", None)
    if not callable(function) or not isinstance(name, str):
        raise InvalidInput(f"deploy a ServiceRunner class or functions, not {function!r}")
    return name


def _methods(kind: type) -> dict[str, Callable[..., Any]]:
    holder = Holder(kind)
    names = [name for name in dir(kind) if not name.startswith("_") and not hasattr(ServiceRunner, name)]
    return {name: _method(kind, holder, name) for name in names if inspect.isroutine(getattr(kind, name))}


def _method(kind: type, holder: Holder, name: str) -> Callable[..., Any]:
    function = getattr(kind, name)
    static = inspect.getattr_static(kind, name)
    bound = isinstance(static, staticmethod | classmethod)
    inputs = Inputs(name, inspect.signature(function), skip=0 if bound else 1)

    def call(args: Any, kwargs: Any) -> Any:
        args, kwargs = inputs.bind(args, kwargs)
        with holder.instance(_version()) as instance:
            return getattr(instance, name)(*args, **kwargs)

    async def acall(args: Any, kwargs: Any) -> Any:
        args, kwargs = inputs.bind(args, kwargs)
        with holder.instance(_version()) as instance:
            return await getattr(instance, name)(*args, **kwargs)

    return _wrapped(name, function, call, acall, inputs.signature)


def _checked(name: str, function: Any) -> Callable[..., Any]:
    function_label(function)
    inputs = Inputs(name, inspect.signature(function))

    def call(args: Any, kwargs: Any) -> Any:
        args, kwargs = inputs.bind(args, kwargs)
        return function(*args, **kwargs)

    async def acall(args: Any, kwargs: Any) -> Any:
        args, kwargs = inputs.bind(args, kwargs)
        return await function(*args, **kwargs)

    return _wrapped(name, function, call, acall, inputs.signature)


def _wrapped(
    name: str, function: Any, call: Callable[..., Any], acall: Callable[..., Any], takes: inspect.Signature
) -> Callable[..., Any]:
    """Dress a call as the function it stands for, with what its callers give; a coroutine function stays one."""
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def wait_for(*args: Any, **kwargs: Any) -> Any:
            return await acall(args, kwargs)

        return _named(wait_for, name, takes)

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        return call(args, kwargs)

    return _named(run, name, takes)


def _named(run: Any, name: str, takes: inspect.Signature) -> Callable[..., Any]:
    run.__name__, run.__signature__ = name, takes
    return run  # type: ignore[no-any-return]


def _version() -> int:
    now = context.running()
    return (now.extra.get("service_version") or 0) if now is not None else 0


class Inputs:
    """Knows what a function takes, and says which input is wrong before the function runs."""

    def __init__(self, function: str, signature: inspect.Signature, skip: int = 0) -> None:
        self._function = function
        parameters = list(signature.parameters.values())[skip:]
        asked = [p for p in parameters if p.name != INJECTED or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        self._injects = len(asked) < len(parameters)
        places = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        #: Where a `Progress` goes among the arguments by position; nowhere where it goes by name.
        self._place = places.index(INJECTED) if INJECTED in places else None
        #: What callers may give.
        self.signature = signature.replace(parameters=asked)
        self._takes = Parameters.of(self.signature)

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Give the arguments to call with; raise `InvalidInput` naming the first wrong one."""
        if self._injects and INJECTED in kwargs:
            raise InvalidInput(f"{self._function} has no input {INJECTED!r}; it takes {self._takes}")
        self._takes.check(self._function, args, kwargs)
        if not self._injects:
            return args, dict(kwargs)
        progress = context.Progress()
        if self._place is not None and self._place <= len(args):
            return (*args[: self._place], progress, *args[self._place :]), dict(kwargs)
        return args, {**kwargs, INJECTED: progress}
