"""`connect()`: a client without an app, for shells, notebooks and programs that do not have the tasks' code."""

from __future__ import annotations

from typing import Any

from executions.client import Client
from executions.parts import Parts
from executions.settings import Settings


def connect(url: str | None = None, **settings: Any) -> Client:
    """Give a client for the registry at `url` (or `EXECUTIONS_URL`, or the usual local server).

    Any other setting may be given by its name, `broker="amqp://..."` for one. Nothing is connected to yet.
    """
    return Client(Parts(Settings.from_env(url=url, **settings)))
