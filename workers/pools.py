"""How each kind of pool can stop a function: what it can do, and what it has to say it cannot.

| pool    | checkpoint | soft: an exception in the code      | hard: a kill                      |
|---------|------------|-------------------------------------|-----------------------------------|
| prefork | yes        | signal, also inside a blocking call | the child and all below it        |
| solo    | yes        | signal, also inside a blocking call | no: the worker itself would die   |
| threads | yes        | at the next Python instruction      | no                                |
| gevent  | yes        | where the greenlet waits            | no                                |
"""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import threading
from typing import Any, Protocol

from executions.celery.site import Place
from executions.context import ForcedStop, Running
from executions.slots import Seen, Stop
from workers.processes import kill_tree

#: Not used by Celery, billiard or Python; its handler raises only if the slot names the running execution.
SOFT_SIGNAL = signal.SIGRTMIN + 1


class Pool(Protocol):
    """What the stopper asks of a pool."""

    #: Whether a child process runs each function, so that a kill hits nothing else.
    has_children: bool

    def wake(self, seen: Seen) -> None:
        """Have a coroutine notice its stop at its next await."""

    def interrupt(self, seen: Seen, kind: Stop, again: bool) -> bool:
        """Raise an exception in the running code; False where that cannot be done."""

    def kill(self, seen: Seen) -> bool:
        """End the code at once; False where that cannot be done."""


class PreforkPool:
    """Children that are processes."""

    has_children = True

    def wake(self, seen: Seen) -> None:
        _signal(seen.pid)

    def interrupt(self, seen: Seen, kind: Stop, again: bool) -> bool:
        return _signal(seen.pid)

    def kill(self, seen: Seen) -> bool:
        kill_tree(seen.pid)
        return True


class InProcessPool:
    """What all pools share that run functions in the worker's own process."""

    has_children = False

    def __init__(self, place: Place) -> None:
        self._place = place

    def wake(self, seen: Seen) -> None:
        running = self._place.running.get(seen.index)
        cancel = running.extra.get("cancel") if running else None
        if cancel is not None:
            cancel()

    def interrupt(self, seen: Seen, kind: Stop, again: bool) -> bool:
        running = self._place.running.get(seen.index)
        if running is None or running.token != seen.token:
            return True
        if running.extra.get("cancel") is not None:
            self.wake(seen)
            return True
        # Made before the lock is taken: its message is read from the registry.
        error = ForcedStop() if again else running.stop_error(kind)
        with self._place.lock:
            # Once the function is left, nothing may be raised there: the next one may run already.
            return self._place.running.get(seen.index) is not running or self._raise_in(running, seen, error)

    def _raise_in(self, running: Running, seen: Seen, error: BaseException) -> bool:
        raise NotImplementedError

    def kill(self, seen: Seen) -> bool:
        return False


class ThreadsPool(InProcessPool):
    """Threads: an exception reaches them at their next Python instruction, a blocking call is not left."""

    def _raise_in(self, running: Running, seen: Seen, error: BaseException) -> bool:
        thread, kind = ctypes.c_ulong(seen.thread), ctypes.py_object(type(error))
        return ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, kind) == 1


class SoloPool(InProcessPool):
    """The main thread: a signal reaches it in blocking calls as well."""

    def interrupt(self, seen: Seen, kind: Stop, again: bool) -> bool:
        # The handler makes the exception, and asks whether it is still meant.
        main = threading.main_thread().ident
        if main is not None:
            signal.pthread_kill(main, SOFT_SIGNAL)
        return main is not None


class GreenletPool(InProcessPool):
    """Greenlets: an exception reaches them where they wait."""

    def _raise_in(self, running: Running, seen: Seen, error: BaseException) -> bool:
        greenlet = running.extra.get("greenlet")
        if greenlet is None:
            return False
        hub = importlib.import_module("gevent").get_hub()
        hub.loop.run_callback(self._throw, greenlet, running, error)
        return True

    def _throw(self, greenlet: Any, running: Running, error: BaseException) -> None:
        # Asked once more at the last moment: it may have left the function by now.
        if self._place.running.get(running.slot) is running and not greenlet.dead:
            greenlet.throw(error)


def pool_for(place: Place) -> Pool:
    """Give the pool of a worker by its name."""
    if place.pool == "prefork":
        return PreforkPool()
    kinds: dict[str, type[InProcessPool]] = {"threads": ThreadsPool, "solo": SoloPool}
    return kinds.get(place.pool, GreenletPool)(place)


def _signal(pid: int) -> bool:
    try:
        os.kill(pid, SOFT_SIGNAL)
    except ProcessLookupError:
        return False
    return True


def install_soft_signal(place: Place) -> None:
    """Have the soft signal raise in this process's main thread, if it is meant for what runs there now."""
    told: list[int] = []

    def on_signal(number: int, frame: Any) -> None:
        index = place.own_slot if place.own_slot is not None else next(iter(place.running), None)
        running = place.running.get(index) if index is not None else None
        if running is None or running.cells[running.stop_cell] != running.token:
            return
        cancel = running.extra.get("cancel")
        if cancel is not None:
            cancel()
            return
        if told == [running.token]:
            raise ForcedStop
        told[:] = [running.token]
        running.check()

    signal.signal(SOFT_SIGNAL, on_signal)
