"""Changes as they are pushed: one subscription and one thread, however many wait for however many executions."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from redis.exceptions import RedisError

from executions.registry.space import Space

#: Seconds between two looks at whether the reader is still wanted, and pause before it connects again.
_TICK_S = 1.0


class Signal:
    """Set whenever an execution may have changed."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0

    def fire(self) -> None:
        with self._changed:
            self._count += 1
            self._changed.notify_all()

    @property
    def count(self) -> int:
        """How often it fired; give it to `wait` to miss nothing in between."""
        return self._count

    def wait(self, seen: int, timeout: float | None) -> bool:
        """Wait until it has fired since `seen`."""
        with self._changed:
            return self._changed.wait_for(lambda: self._count != seen, timeout)


class Watcher:
    """Hands each change to those who wait for its execution. Starts with the first of them."""

    def __init__(self, space: Callable[[], Space]) -> None:
        self._space = space
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._signals: dict[bytes, list[Signal]] = {}
        self._subscription: Any = None
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    @contextmanager
    def watching(self, execution_id: str) -> Iterator[Signal]:
        """Give a signal that fires with each change from now on."""
        if self._pid != os.getpid():
            self._reset()
        space = self._space()
        channel = space.keys(execution_id).record(execution_id).encode()
        signal = Signal()
        with self._lock:
            self._signals.setdefault(channel, []).append(signal)
            self._ensure_reader(space)
            self._quietly(lambda: self._subscription.subscribe(channel))
        try:
            yield signal
        finally:
            with self._lock:
                waiting = self._signals[channel]
                waiting.remove(signal)
                if not waiting:
                    del self._signals[channel]
                    self._quietly(lambda: self._subscription.unsubscribe(channel))

    def close(self) -> None:
        """Stop the reader and close its connection."""
        with self._lock:
            self._closed.set()
            thread, self._thread = self._thread, None
        # The reader first: the driver does not bear it that a connection is closed while it is read from.
        if thread is not None:
            thread.join(timeout=2 * _TICK_S)
        with self._lock:
            if self._subscription is not None:
                self._quietly(self._subscription.close)
                self._subscription = None
        self._reset()

    def _ensure_reader(self, space: Space) -> None:
        if self._subscription is None:
            client = space.own_client(socket_timeout_s=5.0)
            self._subscription = client.pubsub()
            self._subscription.owner = client
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._read, args=(self._closed,), name="executions-watcher", daemon=True
            )
            self._thread.start()

    def _quietly(self, act: Callable[[], Any]) -> None:
        """The reader connects again by itself and then subscribes to all that is wanted."""
        try:
            act()
        except (RedisError, OSError):
            pass

    def _read(self, closed: threading.Event) -> None:
        while not closed.is_set():
            subscription = self._subscription
            if subscription is None:
                return
            try:
                if not subscription.subscribed:
                    closed.wait(_TICK_S / 20)
                    continue
                message = subscription.get_message(timeout=_TICK_S)
            except (RedisError, OSError, ValueError, AttributeError, TypeError):
                # The last three: `close()` took the connection away while this thread was reading from it.
                closed.wait(_TICK_S)
                self._resubscribe()
                continue
            if message is not None:
                self._fire(message)

    def _fire(self, message: dict[str, Any]) -> None:
        # A confirmed subscription counts as a change: what happened before it was not heard.
        if message["type"] in ("message", "subscribe"):
            with self._lock:
                waiting = list(self._signals.get(message["channel"], ()))
            for signal in waiting:
                signal.fire()

    def _resubscribe(self) -> None:
        with self._lock:
            for channel, waiting in self._signals.items():
                self._quietly(partial(self._subscription.subscribe, channel))
                for signal in waiting:
                    signal.fire()
