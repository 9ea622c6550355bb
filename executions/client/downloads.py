"""`execution.download(folder)`: what an execution was given and what it gave, as files that other programs read.

    <folder>/inputs/<name>.json      one for each input, by the name of its parameter or its place
    <folder>/output.json             the output; a folder `output` with one entry for each key where it is an object
    <folder>/children/<number>/...   the same of what it started, where that is wanted

Bytes are files of their own, as they are; what holds some is a folder of its parts, a list's by their places.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from executions import codec
from executions.client.payloads import PayloadsView
from executions.errors import InvalidInput
from executions.execution import Execution
from executions.parts import Parts
from executions.registry.queries import Queries

#: Characters of a key that go into a file's name.
_LONGEST = 100

#: What a file's name is not made of on some system, or would lead elsewhere.
_ODD = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]|^\.+|[. ]+$')


class Downloader:
    """Writes executions into folders."""

    def __init__(self, parts: Parts, queries: Queries) -> None:
        self._parts = parts
        self._payloads = PayloadsView(parts, queries)

    def download(self, execution: Execution, folder: str | Path, recursive: bool = False) -> Path:
        """Write one into a folder, which must be new or empty; with `recursive`, what it started as well."""
        target = Path(folder)
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise InvalidInput(f"{target} is not an empty folder; name one that is, or one that is not there yet")
        self._write(execution, target, recursive)
        return target

    def _write(self, execution: Execution, target: Path, recursive: bool) -> None:
        target.mkdir(parents=True, exist_ok=True)
        args, kwargs = codec.decode(self._payloads.read(execution.id, "input"))[:2]
        known = self._parts.function(execution.function)
        names = known.places if known else ()
        placed = {names[at] if at < len(names) else str(at): value for at, value in enumerate(args)}
        _write_all(target / "inputs", {**placed, **kwargs}.items())
        if execution.has_output:
            output = codec.decode(self._payloads.read(execution.id, "output"))
            if isinstance(output, Mapping):
                _write_all(target / "output", output.items())
            else:
                _write_value(target, "output", output)
        for child in execution.children() if recursive else ():
            self._write(child, target / "children" / str(child.number), recursive)


def _write_all(folder: Path, values: Iterable[tuple[Any, Any]]) -> None:
    folder.mkdir()
    taken: set[str] = set()
    for key, value in values:
        name = safe = _ODD.sub("_", str(key))[:_LONGEST] or "_"
        # Two keys may differ in nothing that a name can hold; some systems do not tell capitals apart either.
        while name.casefold() in taken:
            name = f"{safe}-{len(taken)}"
        taken.add(name.casefold())
        _write_value(folder, name, value)


def _write_value(folder: Path, name: str, value: Any) -> None:
    if isinstance(value, bytes):
        (folder / name).write_bytes(value)
    elif _holds_bytes(value):
        _write_all(folder / name, value.items() if isinstance(value, Mapping) else enumerate(value))
    else:
        text = json.dumps(json.loads(codec.encode(value)), indent=2, ensure_ascii=False)
        (folder / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


def _holds_bytes(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_bytes, value.values()))
    return isinstance(value, bytes) or (isinstance(value, list) and any(map(_holds_bytes, value)))
