"""Logs."""

from __future__ import annotations

from executions.registry.space import Space


class Logs:
    def __init__(self, space: Space) -> None: ...
