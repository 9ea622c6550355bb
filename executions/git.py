"""Which code this process runs: the checkout that its folder lies in, looked at once.

Commit and branch are read from the files of the checkout, which takes a fraction of a millisecond. What only `git`
itself can tell (author, message, whether files were changed) is asked for once, off the path of any submit.
"""

from __future__ import annotations

import re
import secrets
import subprocess
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from executions.execution import Code

#: Seconds that `git` may take for one question; a checkout on a slow disk is told of without the answer.
PATIENCE_S = 10.0

#: The longest name of a branch, and the longest line of a message, that is kept.
BRANCH_CHARS, MESSAGE_CHARS = 60, 200

_HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """A checkout as it was when this process first looked."""

    #: Names this look; what is told of it later is kept under this.
    id: str
    commit: str
    branch: str | None = None
    #: Where it is; nothing where its commit was given by a setting.
    folder: Path | None = None
    repository: str | None = None


def given(commit: str, branch: str = "", repository: str = "") -> Checkout:
    """Give the checkout that a deployment names, as an image without a `.git` must."""
    return Checkout(
        id=_new_id(), commit=commit, branch=branch[:BRANCH_CHARS] or None, repository=without_login(repository) or None
    )


@lru_cache(maxsize=64)
def checkout_at(folder: Path) -> Checkout | None:
    """Read commit and branch of the checkout that a folder lies in; nothing outside of one, or before a commit."""
    for place in (folder, *folder.parents):
        try:
            if (place / ".git").exists():
                return _read(place, _git_folder(place / ".git"))
        except (OSError, ValueError):
            return None
    return None


def _git_folder(marker: Path) -> Path:
    """Follow the file that stands for `.git` in worktrees and submodules."""
    if marker.is_dir():
        return marker
    return (marker.parent / marker.read_text().partition("gitdir:")[2].strip()).resolve()


def _read(place: Path, git: Path) -> Checkout | None:
    head = (git / "HEAD").read_text().strip()
    name = head.removeprefix("ref:").strip() if head.startswith("ref:") else None
    commit = head if name is None else _commit_of(git, name)
    if not _HASH.match(commit):
        return None
    branch = None if name is None else name.removeprefix("refs/heads/")[:BRANCH_CHARS]
    return Checkout(id=_new_id(), commit=commit, branch=branch, folder=place)


def _commit_of(git: Path, name: str) -> str:
    common = git / "commondir"
    shared = (git / common.read_text().strip()).resolve() if common.exists() else git
    for folder in (git, shared):
        if (folder / name).is_file():
            return (folder / name).read_text().strip()
    packed = shared / "packed-refs"
    for line in packed.read_text().splitlines() if packed.exists() else ():
        commit, _, named = line.partition(" ")
        if named == name:
            return commit
    return ""


@lru_cache(maxsize=64)
def described(checkout: Checkout) -> Code:
    """Ask `git` for the rest; what it cannot tell stays empty."""
    code = Code(commit=checkout.commit, branch=checkout.branch, repository=checkout.repository)
    if checkout.folder is None:
        return code
    commit = _ask(checkout.folder, "log", "-1", "--format=%an <%ae>%n%s", checkout.commit)
    changed = _ask(checkout.folder, "status", "--porcelain", "--untracked-files=no")
    remote = _ask(checkout.folder, "config", "--get", "remote.origin.url")
    author, _, message = (commit or "").partition("\n")
    return replace(
        code,
        author=author or None,
        message=message.strip()[:MESSAGE_CHARS] or None,
        repository=without_login((remote or "").strip()) or None,
        is_dirty=None if changed is None else bool(changed.strip()),
    )


def _ask(folder: Path, *question: str) -> str | None:
    try:
        answer = subprocess.run(
            # Without locks: a look from here must never be in the way of somebody who works there.
            ["git", "--no-optional-locks", "-C", str(folder), *question],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.decode(errors="replace") if answer.returncode == 0 else None


def without_login(url: str) -> str:
    """Take user and password out of a remote's address: whoever may see an execution may not see those."""
    parts = urlsplit(url)
    if not parts.scheme or "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _new_id() -> str:
    return secrets.token_urlsafe(6)
