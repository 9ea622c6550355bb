"""Browsers that watch the list of executions, as far as a server can tell: `python -m benchmarks.viewers URL COUNT`.

Each holds a stream open, and when something happened asks what is new: every two seconds at most, and at most for a
tenth of its time, as the page does. They watch until their input is closed, then tell what they got as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from executions.clock import SYSTEM_CLOCK

#: As in the page's own code: seconds between two questions, and how much of a viewer's time one may take.
PAUSE_S = 2.0
SHARE = 10
LONGEST_S = 10.0

_PIECE = 1 << 16


@dataclass
class Viewers:
    """Many of them in one loop."""

    host: str
    port: int
    bytes: int = 0
    resyncs: int = 0
    news_ms: list[float] = field(default_factory=list)
    open: int = 0

    async def watch(self, count: int) -> None:
        """Open them all and hold them until the input ends."""
        viewers = [asyncio.create_task(self._viewer()) for _ in range(count)]
        while self.open < count:
            await asyncio.sleep(0.05)
        print("open", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        for viewer in viewers:
            viewer.cancel()
        await asyncio.gather(*viewers, return_exceptions=True)

    async def _viewer(self) -> None:
        happened = asyncio.Event()
        asking = asyncio.create_task(self._ask(happened))
        try:
            reader, writer = await self._send("/api/v1/stream", "keep-alive")
            self.open += 1
            while piece := await reader.read(_PIECE):
                self.bytes += len(piece)
                self.resyncs += piece.count(b"event: resync")
                happened.set()
            writer.close()
        finally:
            asking.cancel()

    async def _ask(self, happened: asyncio.Event) -> None:
        while True:
            await happened.wait()
            happened.clear()
            began = SYSTEM_CLOCK.monotonic()
            reader, writer = await self._send("/executions/news?q=&since=2026-01-01T00:00:00Z", "close")
            await reader.read()
            writer.close()
            took = SYSTEM_CLOCK.monotonic() - began
            self.news_ms.append(took * 1000)
            await asyncio.sleep(max(PAUSE_S, min(SHARE * took, LONGEST_S)))

    async def _send(self, path: str, connection: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nConnection: {connection}\r\n\r\n".encode()
        )
        await writer.drain()
        return reader, writer


def main() -> None:
    """Watch, then tell."""
    address = urlsplit(sys.argv[1])
    viewers = Viewers(str(address.hostname), int(address.port or 80))
    asyncio.run(viewers.watch(int(sys.argv[2])))
    told = {"bytes": viewers.bytes, "resyncs": viewers.resyncs, "news_ms": viewers.news_ms}
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
