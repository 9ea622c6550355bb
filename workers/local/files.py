"""Small files that must never be seen half-written, and locks that die with their holder."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from executions.errors import Conflict
from workers.local.waiting import wait_until


def make_private(folder: Path) -> Path:
    """Create a folder that only its owner can enter and that git leaves alone."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")
    return folder


def write_json(path: Path, value: Any) -> None:
    """Write a file so that a reader, or a crash at any moment, finds the old text or the new one, whole."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w") as file:
        json.dump(value, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote; a missing or damaged file says nothing."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def try_lock(path: Path) -> int | None:
    """Take a lock and give the descriptor that holds it, or nothing if it is held elsewhere.

    The kernel lets go of it when the last process that has the descriptor ends, however it ends.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def locked(path: Path, within_s: float, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a lock for the length of a block; call `waiting` once if it is held elsewhere, and wait for it."""
    descriptor = try_lock(path)
    if descriptor is None:
        waiting()
        descriptor = wait_for_lock(path, within_s)
    if descriptor is None:
        raise Conflict(f"another `executions up` or `down` still holds {path} after {within_s:.0f} s; try again later")
    try:
        yield
    finally:
        os.close(descriptor)


def wait_for_lock(path: Path, within_s: float) -> int | None:
    """Take a lock as soon as its holder lets go, or give up and give nothing."""
    held: list[int] = []

    def take() -> bool:
        descriptor = try_lock(path)
        held.extend([] if descriptor is None else [descriptor])
        return descriptor is not None

    return held[0] if wait_until(take, within_s) else None
