"""Real git checkouts for tests."""

from __future__ import annotations

import subprocess
from pathlib import Path


def commit_in(folder: Path, message: str, remote: str) -> None:
    """Make a checkout of a folder, with one file and one commit."""
    (folder / "file").write_text("as committed")
    ask(folder, "init", "--quiet", "--initial-branch", "main")
    ask(folder, "remote", "add", "origin", remote)
    ask(folder, "add", "file")
    ask(folder, "-c", "user.name=Ann", "-c", "user.email=ann@example.org", "commit", "--quiet", "--message", message)


def ask(folder: Path, *question: str) -> str:
    return subprocess.run(["git", "-C", folder, *question], capture_output=True, check=True, text=True).stdout.strip()
