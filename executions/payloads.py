"""Big values: kept outside the registry, under the day they were written on and the hash of their content.

A folder by default; any fsspec URL (`s3://...`, `gs://...`) where the extra `[storage]` is installed. What is
written twice on one day is stored once, and reading checks that it is what was written.

    <store>/<registry>/<day>/<first two digits of the hash>/<hash>       its reference: @<day>.<hash>

The day is what makes it safe to clear away: no file of an earlier day is ever written again or referred to anew,
see docs/decisions/payload-files.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from executions.clock import SYSTEM_CLOCK, Clock
from executions.errors import InvalidSetting, PayloadMissing

#: What a reference to a stored value starts with, where a value itself could stand too.
REFERENCE = "@"

DAY_S = 24 * 3600


class Store(Protocol):
    """Where the bytes lie, by paths below its root."""

    def write(self, path: str, data: bytes) -> None: ...
    def read(self, path: str) -> bytes: ...
    def names(self, path: str) -> list[str]: ...
    def remove(self, path: str) -> None: ...
    def remove_folder(self, path: str) -> None: ...
    def probe(self) -> str: ...


class FolderStore:
    """A folder of this machine, or one that all machines mount."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def write(self, path: str, data: bytes) -> None:
        target = self.folder / path
        if target.exists():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        # Under its own name only once it is whole: a reader never sees half a value.
        handle, temporary = tempfile.mkstemp(dir=target.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).replace(target)

    def read(self, path: str) -> bytes:
        return (self.folder / path).read_bytes()

    def names(self, path: str) -> list[str]:
        folder = self.folder / path
        return sorted(os.listdir(folder)) if folder.is_dir() else []

    def remove(self, path: str) -> None:
        (self.folder / path).unlink(missing_ok=True)

    def remove_folder(self, path: str) -> None:
        with contextlib.suppress(OSError):
            (self.folder / path).rmdir()

    def probe(self) -> str:
        place = self.folder.absolute()
        # It is made when first needed, so what counts is the nearest folder above it that exists.
        there = next(folder for folder in (place, *place.parents) if folder.is_dir())
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"probe")
        return str(place)


class FsspecStore:
    """Anything that fsspec can open."""

    def __init__(self, url: str) -> None:
        try:
            fsspec: Any = importlib.import_module("fsspec")
        except ImportError:
            raise InvalidSetting(f"the payload store {url!r} needs fsspec: pip install 'executions[storage]'") from None
        self._files, self._root = fsspec.core.url_to_fs(url)

    def write(self, path: str, data: bytes) -> None:
        target = f"{self._root}/{path}"
        if not self._files.exists(target):
            self._files.makedirs(target.rpartition("/")[0], exist_ok=True)
            self._files.pipe_file(target, data)

    def read(self, path: str) -> bytes:
        return bytes(self._files.cat_file(f"{self._root}/{path}"))

    def names(self, path: str) -> list[str]:
        # What others wrote since the last look counts too.
        self._files.invalidate_cache()
        try:
            found = self._files.ls(f"{self._root}/{path}", detail=False)
        except FileNotFoundError:
            return []
        return sorted(name.rstrip("/").rpartition("/")[2] for name in found)

    def remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._files.rm_file(f"{self._root}/{path}")

    def remove_folder(self, path: str) -> None:
        # Called for empty ones only, because some remove what is in them too; others have no folders at all.
        with contextlib.suppress(OSError, NotImplementedError):
            self._files.rmdir(f"{self._root}/{path}")

    def probe(self) -> str:
        path = f"{self._root}/.probe"
        self._files.makedirs(self._root, exist_ok=True)
        self._files.pipe_file(path, b"probe")
        self._files.rm_file(path)
        return str(self._root)


class Payloads:
    """Puts values away and brings them back."""

    def __init__(self, where: str, registry: Callable[[], str], clock: Clock = SYSTEM_CLOCK) -> None:
        # A function may change the working directory, or take it away.
        self._where = where if "://" in where else os.path.abspath(where)
        self._registry = registry
        self._clock = clock
        self._opened: Store | None = None

    def put(self, text: str) -> str:
        """Store a text and give the reference to it."""
        data = text.encode()
        name = f"{int(self._clock.now() // DAY_S)}.{hashlib.sha256(data).hexdigest()}"
        self._store.write(self._path(name), data)
        return f"{REFERENCE}{name}"

    def get(self, reference: str) -> str:
        """Bring back the text behind a reference."""
        name = reference.removeprefix(REFERENCE)
        try:
            data = self._store.read(self._path(name))
        except OSError as error:
            raise PayloadMissing(
                f"payload {name} is not in {self._where!r}: workers and clients need the same payload store "
                "(EXECUTIONS_PAYLOADS)"
            ) from error
        if hashlib.sha256(data).hexdigest() != name.rpartition(".")[2]:
            raise PayloadMissing(f"payload {name} in {self._where!r} is damaged")
        return data.decode()

    def days_over(self, before: float) -> list[int]:
        """Give the days that have files and were over at a time, the oldest first."""
        days = [int(name) for name in self._store.names(self._registry()) if name.isdigit()]
        return sorted(day for day in days if (day + 1) * DAY_S <= before)

    def folders(self, day: int) -> list[str]:
        """Give the folders of a day."""
        return self._store.names(f"{self._registry()}/{day}")

    def clear(self, day: int, folder: str, is_used: Callable[[str], bool], limit: int) -> int:
        """Remove files of a folder that nothing refers to, up to a limit; give how many."""
        path, removed = f"{self._registry()}/{day}/{folder}", 0
        names = self._store.names(path)
        for name in names:
            if removed < limit and not is_used(f"{REFERENCE}{day}.{name}"):
                self._store.remove(f"{path}/{name}")
                removed += 1
        if removed == len(names):
            self._store.remove_folder(path)
        return removed

    def forget_day(self, day: int) -> None:
        """Remove a day's own folder, if nothing is left in it."""
        if not self.folders(day):
            self._store.remove_folder(f"{self._registry()}/{day}")

    def probe(self) -> str:
        """Write something, take it away again and tell where that was; raises `OSError` where it cannot."""
        return self._store.probe()

    def _path(self, name: str) -> str:
        day, _, digest = name.rpartition(".")
        # Without a day it was written by a version that had none: such files are read, and stay.
        return f"{self._registry()}/{day}/{digest[:2]}/{digest}" if day else f"{digest[:2]}/{digest}"

    @property
    def _store(self) -> Store:
        if self._opened is None:
            self._opened = FsspecStore(self._where) if "://" in self._where else FolderStore(self._where)
        return self._opened
