"""Locks that a child process must not inherit.

A child is forked from one thread; what another thread of its parent holds in that moment nobody releases there. Such a
child lives, takes a job, and waits for ever at the first such lock: the one of a pool of connections, or the one that
all instances share of a `cached_property` of kombu. Our threads use both all the time. So each child begins with new
locks in place of those that are held when it is born.
"""

from __future__ import annotations

import functools
import gc
import logging
import os
import queue
import sys
import threading
from collections.abc import Iterator
from types import GetSetDescriptorType, ModuleType
from typing import Any, TypeAlias

#: Whose objects and modules are looked at: what our threads share with the thread that forks.
PACKAGES = frozenset({"amqp", "celery", "executions", "kombu", "redis", "workers"})

#: What these packages use of others, with locks inside. Python's own cached properties have none from 3.12 on.
_OTHERS = (functools.cached_property, queue.Queue, threading.Condition)

#: Held by a module of the standard library under a name that is not for others; there is no other way to it.
_logging_lock: Any = logging._lock  # type: ignore[attr-defined]

_LOCKS = (type(threading.Lock()), type(threading.RLock()))

#: Seconds that other threads wait for their turn while locks are looked for.
_TURN_S = 0.5

#: An owner, the name of a lock there, and the lock.
_Held: TypeAlias = tuple[Any, str, Any]

_found: list[_Held] = []
_parent = 0
_usual_turn_s = 0.0


def renew_locks() -> None:
    """Have all children of this process begin with locks that nobody holds."""
    global _parent
    if not _parent:
        os.register_at_fork(before=_find, after_in_parent=_go_on, after_in_child=_renew)
    _parent = os.getpid()


def _find() -> None:
    """Find them before the fork: to look at all objects in the child would copy the memory that both share."""
    global _usual_turn_s
    # Not what a function forks: nothing of Celery runs there.
    if os.getpid() != _parent:
        return
    # Logging takes it before each fork as well, and whoever it waits for would make and take further locks meanwhile.
    _logging_lock.acquire()
    _usual_turn_s = sys.getswitchinterval()
    sys.setswitchinterval(_TURN_S)
    for _ in range(1000):  # a turn that was asked for before is given here
        pass
    _found[:] = _all_locks()


def _go_on() -> None:
    if os.getpid() == _parent:
        sys.setswitchinterval(_usual_turn_s)
        _logging_lock.release()


def _all_locks() -> Iterator[_Held]:
    """Give each lock with its owner and its name there."""
    is_ours: dict[type, bool] = {}
    for one in gc.get_objects():
        # By the type itself: asking a proxy for its class may compute what it stands for.
        kind = type(one)
        if kind not in is_ours:
            is_ours[kind] = _is_ours(kind) and _has_plain_attributes(kind)
        if is_ours[kind]:
            yield from _locks_of(one)
    for name, module in list(sys.modules.items()):
        if _package(name) in PACKAGES and type(module) is ModuleType:
            yield from _locks_of(module)


def _is_ours(kind: type) -> bool:
    return _package(kind.__module__) in PACKAGES or issubclass(kind, _OTHERS)


def _has_plain_attributes(kind: type) -> bool:
    """Tell whether an instance's attributes are its own: a proxy would compute what it stands for."""
    found = next((vars(base)["__dict__"] for base in kind.__mro__ if "__dict__" in vars(base)), None)
    return isinstance(found, GetSetDescriptorType)


def _package(module: object) -> str:
    return module.partition(".")[0] if isinstance(module, str) else ""


def _locks_of(one: Any) -> Iterator[_Held]:
    for name, value in list(object.__getattribute__(one, "__dict__").items()):
        if type(value) in _LOCKS:
            yield one, name, value


def _renew() -> None:
    if _usual_turn_s:
        sys.setswitchinterval(_usual_turn_s)  # the lock of logging is new already
    for one, name, lock in _found:
        # One that the forking thread itself holds can be taken again, and is left to it.
        if lock.acquire(blocking=False):
            lock.release()
        elif vars(one).get(name) is lock:
            _replace(one, name, type(lock)() if isinstance(lock, _LOCKS[1]) else threading.Lock())
    _found.clear()


def _replace(one: Any, name: str, lock: Any) -> None:
    if isinstance(one, threading.Condition):
        threading.Condition.__init__(one, lock)
    else:
        object.__setattr__(one, name, lock)
    if isinstance(one, queue.Queue):
        # Its conditions are about the same lock.
        for condition in ("not_empty", "not_full", "all_tasks_done"):
            setattr(one, condition, threading.Condition(lock))
