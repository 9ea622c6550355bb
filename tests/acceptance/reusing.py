"""Functions for the stories of test_cache.py: each counts its runs in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shop import ShopError, app, client, touch  # type: ignore[import-not-found]

import executions

__all__ = ["app"]


@app.task(cache=True)
def square(x: Any, path: str = "", password: str = "") -> Any:
    touch(path)
    return [x, x]


@app.task
def uncached(path: str) -> int:
    touch(path)
    return 1


@app.task(cache=True, cache_ttl=1)
def short_lived(path: str) -> int:
    touch(path)
    return 1


@app.task(cache=True, cache_version="2", name="reusing.versioned")
def versioned(path: str) -> str:
    touch(path)
    return "of version 2"


@app.task(cache=True, retry_on=(ShopError,), backoff_delay=0, max_attempts=2)
def at_second_try(path: str) -> int:
    touch(path)
    runs = len(Path(path).read_text().splitlines())
    if runs < 2:
        raise ShopError(f"run {runs}")
    return runs


@app.task(cache=True)
def large(path: str, size: int) -> str:
    touch(path)
    return "x" * size


@app.task(cache=True)
async def awaits(path: str) -> int:
    touch(path)
    return 3


class Cook(executions.ServiceRunner):
    def bake(self, path: str, progress: executions.Progress) -> str:
        touch(path)
        return "bread"


client.services.deploy(Cook, name="cook", cache=True)
