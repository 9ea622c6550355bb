"""Log views."""

from __future__ import annotations

from typing import Any


class LogView:
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
