"""Messages as kombu's Redis transport would push them, written down and not sent: they travel with their rows."""

from __future__ import annotations

import threading
from typing import Any

from celery import Celery
from kombu.connection import Connection
from kombu.transport import redis, virtual
from kombu.utils.json import dumps

#: The list that a message goes to, and its text.
Push = tuple[str, str]


class _Channel(redis.Channel):
    """kombu's channel with nobody at the other end: what it would push, it keeps."""

    def __init__(self, connection: Any) -> None:
        # Not kombu's own way, which connects.
        virtual.Channel.__init__(self, connection)
        self.pushed: list[Push] = []

    def _put(self, queue: str, message: Any, **options: Any) -> None:
        step = self._get_message_priority(message, reverse=False)
        self.pushed.append((self._q_for_pri(queue, step), dumps(message)))


class _Transport(redis.Transport):
    Channel = _Channel


class Desk(threading.local):
    """Where messages are written; each thread has its own."""

    def __init__(self, app: Celery) -> None:
        self.producer = app.amqp.Producer(Connection("redis://", transport=_Transport), auto_declare=False)

    def take(self) -> list[Push]:
        """Take what was published since the last time."""
        channel = self.producer.channel
        pushed, channel.pushed = channel.pushed, []
        return pushed
