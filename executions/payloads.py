"""Big values: kept outside the registry, under the hash of their content.

A folder by default; any fsspec URL (`s3://...`, `gs://...`) where the extra `[storage]` is installed. The same
content is stored once, and reading checks that it is what was written.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import tempfile
from pathlib import Path
from typing import Any, Protocol

from executions.errors import InvalidSetting, PayloadMissing

#: What a reference to a stored value starts with, where a value itself could stand too.
REFERENCE = "@"


class Store(Protocol):
    """Where the bytes lie."""

    def write(self, name: str, data: bytes) -> None: ...
    def read(self, name: str) -> bytes: ...
    def probe(self) -> str: ...


class FolderStore:
    """A folder of this machine, or one that all machines mount."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def write(self, name: str, data: bytes) -> None:
        target = self.folder / name[:2] / name
        if target.exists():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        # Under its own name only once it is whole: a reader never sees half a value.
        handle, temporary = tempfile.mkstemp(dir=target.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).replace(target)

    def read(self, name: str) -> bytes:
        return (self.folder / name[:2] / name).read_bytes()

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

    def write(self, name: str, data: bytes) -> None:
        path = f"{self._root}/{name[:2]}/{name}"
        if not self._files.exists(path):
            self._files.makedirs(f"{self._root}/{name[:2]}", exist_ok=True)
            self._files.pipe_file(path, data)

    def read(self, name: str) -> bytes:
        return bytes(self._files.cat_file(f"{self._root}/{name[:2]}/{name}"))

    def probe(self) -> str:
        path = f"{self._root}/.probe"
        self._files.makedirs(self._root, exist_ok=True)
        self._files.pipe_file(path, b"probe")
        self._files.rm_file(path)
        return str(self._root)


class Payloads:
    """Puts values away and brings them back."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._opened: Store | None = None

    def put(self, text: str) -> str:
        """Store a text and give the reference to it."""
        data = text.encode()
        name = hashlib.sha256(data).hexdigest()
        self._store.write(name, data)
        return f"{REFERENCE}{name}"

    def get(self, reference: str) -> str:
        """Bring back the text behind a reference."""
        name = reference.removeprefix(REFERENCE)
        try:
            data = self._store.read(name)
        except OSError as error:
            raise PayloadMissing(
                f"payload {name} is not in {self._where!r}: workers and clients need the same payload store "
                "(EXECUTIONS_PAYLOADS)"
            ) from error
        if hashlib.sha256(data).hexdigest() != name:
            raise PayloadMissing(f"payload {name} in {self._where!r} is damaged")
        return data.decode()

    def probe(self) -> str:
        """Write something, take it away again and tell where that was; raises `OSError` where it cannot."""
        return self._store.probe()

    @property
    def _store(self) -> Store:
        if self._opened is None:
            self._opened = FsspecStore(self._where) if "://" in self._where else FolderStore(self._where)
        return self._opened
