"""A TCP proxy that misbehaves on demand: cuts at any byte, goes silent without a reset, is slow."""

from __future__ import annotations

import contextlib
import socket
import threading

HOST = "127.0.0.1"
PIECE = 4096


class Proxy:
    """Stands between one worker and the server. All of its threads end with `close`, or with the process."""

    def __init__(self, target_port: int) -> None:
        self._target = (HOST, target_port)
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._flowing = threading.Event()
        self._flowing.set()
        self._closed = threading.Event()
        self._delay_s = 0.0
        #: Bytes that may still pass before everything is cut, or halts; nothing where there is no such limit.
        self._left: int | None = None
        self._halts = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def connections(self) -> int:
        """How many connections pass through here now."""
        return len(self._open) // 2

    def cut(self, after_bytes: int = 0) -> None:
        """Cut every connection: now, or in the middle of whatever passes then."""
        with self._lock:
            self._left, self._halts = after_bytes or None, False
        if not after_bytes:
            self._cut_all()

    def silence(self, on: bool, after_bytes: int = 0) -> None:
        """Pass nothing on, now or after so much more, and do not say so: connections stay, new ones are taken."""
        with self._lock:
            self._left, self._halts = after_bytes or None, True
        if not after_bytes:
            (self._flowing.clear if on else self._flowing.set)()

    def slow(self, seconds: float) -> None:
        """Hold every piece back for a while."""
        self._delay_s = seconds

    def heal(self) -> None:
        """Behave."""
        self._delay_s, self._left = 0.0, None
        self._flowing.set()

    def close(self) -> None:
        """Let go of everything."""
        self._closed.set()
        self._flowing.set()
        self._listener.close()
        self._cut_all()

    def _accept(self) -> None:
        while not self._closed.is_set():
            with contextlib.suppress(OSError):
                client, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        self._flowing.wait()
        try:
            server = socket.create_connection(self._target, 5)
            server.settimeout(None)
        except OSError:
            client.close()
            return
        with self._lock:
            self._open |= {client, server}
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE):
                self._flowing.wait()
                if self._delay_s:
                    self._closed.wait(self._delay_s)
                allowed, is_over = self._allowed(piece)
                sink.sendall(allowed)
                if is_over and not self._halts:
                    self._cut_all()
                elif is_over:
                    self._flowing.clear()
                    self._flowing.wait()
                    sink.sendall(piece[len(allowed) :])
        self._shut(source, sink)

    def _allowed(self, piece: bytes) -> tuple[bytes, bool]:
        with self._lock:
            if self._left is None:
                return piece, False
            self._left -= len(piece)
            if self._left > 0:
                return piece, False
            kept, self._left = piece[: len(piece) + self._left], None
            return kept, True

    def _cut_all(self) -> None:
        with self._lock:
            found, self._open = self._open, set()
        self._shut(*found)

    def _shut(self, *connections: socket.socket) -> None:
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
            with self._lock:
                self._open.discard(connection)
