"""Catches what a function writes."""

from __future__ import annotations

from typing import Any


class LogWriter:
    def __init__(self, *args: Any) -> None: ...
    def close(self) -> bool:
        return True


def install(descriptors: bool = False) -> None: ...
def begin(writer: LogWriter) -> None: ...
def end(token: Any) -> None: ...
