"""The page and the API as their users have them: a process of its own, asked over HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]


class Web:
    """One `executions serve` process."""

    def __init__(self, url: str, process: subprocess.Popen[str]) -> None:
        self.url = url
        self.process = process


@contextmanager
def served(registry_url: str, namespace: str, *options: str, folder: Path, **env: str) -> Iterator[Web]:
    """Start a server on a free port; it ends with the block."""
    command = [
        sys.executable, "-m", "executions.cli", "--url", registry_url, "--namespace", namespace,
        "serve", "--port", "0", *options,
    ]  # fmt: skip
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "EXECUTIONS_PAYLOADS": str(folder)}  # noqa: TID251
    with (folder / "serve.log").open("ab") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env={**environ, **env}, cwd=folder
        )
    with process:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.startswith("serving on "), (folder / "serve.log").read_text()
        try:
            yield Web(said.split()[-1], process)
        finally:
            process.terminate()


def bearer(token: str) -> dict[str, str]:
    """Give the header that shows a token."""
    return {"Authorization": f"Bearer {token}"}
