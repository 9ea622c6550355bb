"""One thread reads the events of the registry; what it reads is written once and handed to every listener.

A listener is told everything that happens, unless so much happens that it could only read on and on: then it is told
to `resync`, to read again what it shows. The same goes for one that does not keep up, and for one that comes back
after what it missed is kept no longer. Nothing is lost silently.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from executions.client import Client
from executions.errors import ExecutionsError
from executions.server.live.frames import frame_of, resync
from executions.telemetry import log

logger = logging.getLogger(__name__)

#: Seconds between two handouts: what happens meanwhile goes out together.
WINDOW_S = 0.1

#: Events of one handout, and of one who comes back, that are told one by one.
MOST = 200

#: Handouts that may wait for a listener before it is told to resync.
WAITING = 50

#: Seconds after which a silent stream says that it is still there, and after which the reader tries again.
HEARTBEAT_S = 15.0
AGAIN_S = 1.0


class Listener:
    """One open stream."""

    def __init__(self, execution_id: str | None) -> None:
        self.execution_id = execution_id
        self._waiting: deque[bytes] = deque()
        self._news = asyncio.Event()

    def offer(self, piece: bytes, cursor: str) -> None:
        """Take a piece; where too much waits already, forget that and say so."""
        if len(self._waiting) >= WAITING:
            self._waiting.clear()
            piece = resync("lagging", cursor)
        self._waiting.append(piece)
        self._news.set()

    async def next(self) -> bytes:
        """Give what has come, or a sign of life."""
        try:
            await asyncio.wait_for(self._news.wait(), HEARTBEAT_S)
        except TimeoutError:
            return b": still here\n\n"
        self._news.clear()
        pieces = b"".join(self._waiting)
        self._waiting.clear()
        return pieces


class Hub:
    """Reads once, tells many."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._listeners: set[Listener] = set()
        self._window: list[dict[str, Any]] = []
        self._cursor = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begun: asyncio.Future[None] | None = None

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._listeners)

    async def listen(self, execution_id: str | None = None, since: str | None = None) -> AsyncIterator[bytes]:
        """Give a stream's bytes: what was missed since a cursor, then what happens."""
        await self._begin()
        listener = Listener(execution_id)
        self._listeners.add(listener)
        try:
            # One who comes back keeps its own place until it has what it missed: this may be all that it gets.
            place = "" if since else f"id: {self._cursor}\n"
            yield f"retry: 2000\n{place}event: hello\ndata: {{}}\n\n".encode()
            if since:
                yield await asyncio.to_thread(self._missed, execution_id, since)
            while True:
                yield await listener.next()
        finally:
            self._listeners.discard(listener)

    async def _begin(self) -> None:
        """Start the reader with the first listener; whoever comes meanwhile waits until it has found its place."""
        if self._begun is None:
            self._loop = asyncio.get_running_loop()
            self._begun = self._loop.create_future()
            threading.Thread(target=self._read, name="executions-live", daemon=True).start()
        await asyncio.shield(self._begun)

    def _missed(self, execution_id: str | None, since: str) -> bytes:
        query = f"id:{json.dumps(execution_id)}" if execution_id else None
        try:
            found: list[bytes] = []
            for event in self._client.executions.events(query, since=since):
                if event["id"] is None or len(found) >= MOST:
                    return resync("trimmed" if event["id"] is None else "many", self._cursor)
                found.append(frame_of(event))
        except ExecutionsError:
            return resync("trimmed", self._cursor)  # a cursor of another registry, or of nobody
        return b"".join(found)

    def _read(self) -> None:
        since, pause = "now", threading.Event()
        while True:
            try:
                feed = self._client.executions.events(follow=True, since=since)
                since = feed.cursor
                self._call(self._found_place, since)
                for event in feed:
                    since = event["cursor"]
                    self._call(self._happened, event)
            except ExecutionsError as error:
                log(logger, "live.interrupted", error=error)
                pause.wait(AGAIN_S)
            except RuntimeError:
                return  # the loop is closed: the process ends

    def _call(self, what: Any, *arguments: Any) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(what, *arguments)

    def _found_place(self, cursor: str) -> None:
        self._cursor = cursor
        if self._begun is not None and not self._begun.done():
            self._begun.set_result(None)

    def _happened(self, event: dict[str, Any]) -> None:
        if not self._window and self._loop is not None:
            self._loop.call_later(WINDOW_S, self._hand_out)
        self._window.append(event)

    def _hand_out(self) -> None:
        events, self._window = self._window, []
        self._cursor = events[-1]["cursor"]
        is_much = len(events) > MOST or any(event["id"] is None for event in events)
        whole = resync("many", self._cursor) if is_much else b"".join(frame_of(event) for event in events)
        by_id: dict[str, list[dict[str, Any]]] = {}
        for event in events:
            by_id.setdefault(event["id"] or "", []).append(event)
        for listener in tuple(self._listeners):
            if listener.execution_id is None:
                listener.offer(whole, self._cursor)
            elif listener.execution_id in by_id:
                own = b"".join(frame_of(event) for event in by_id[listener.execution_id])
                listener.offer(own, self._cursor)
