"""Which code a process runs, read from real checkouts."""

from __future__ import annotations

from pathlib import Path

import pytest

from executions import git
from tests.checkouts import ask, commit_in


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with one commit, on the branch `main`."""
    commit_in(tmp_path, "First steps\n\nAnd why.", remote="https://ann:secret@example.org/shop.git")
    return tmp_path


def test_a_checkout_tells_all_of_itself(checkout: Path) -> None:
    found = git.checkout_at(checkout)
    assert found is not None
    assert (found.commit, found.branch) == (ask(checkout, "rev-parse", "HEAD"), "main")
    code = git.described(found)
    assert (code.author, code.message) == ("Ann <ann@example.org>", "First steps")
    assert (code.repository, code.is_dirty) == ("https://example.org/shop.git", False)


def test_a_changed_file_is_told_and_a_new_one_is_not(checkout: Path) -> None:
    (checkout / "new").write_text("untracked")
    (checkout / "deep").mkdir()
    found = git.checkout_at(checkout / "deep")
    assert found is not None
    assert git.described(found).is_dirty is False
    git.described.cache_clear()
    (checkout / "file").write_text("changed")
    assert git.described(found).is_dirty is True


def test_packed_branches_tags_and_worktrees_are_read(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    commit = ask(checkout, "rev-parse", "HEAD")
    ask(checkout, "pack-refs", "--all")
    other = tmp_path_factory.mktemp("other") / "tree"
    ask(checkout, "worktree", "add", "-b", "feature/x", str(other))
    detached = tmp_path_factory.mktemp("detached") / "tree"
    ask(checkout, "worktree", "add", "--detach", str(detached))
    seen = [git.checkout_at(folder) for folder in (checkout, other, detached)]
    assert [one and (one.commit, one.branch) for one in seen] == [
        (commit, "main"), (commit, "feature/x"), (commit, None),
    ]  # fmt: skip


def test_outside_of_a_checkout_and_before_a_commit_there_is_nothing(tmp_path: Path) -> None:
    assert git.checkout_at(tmp_path) is None
    empty = tmp_path / "empty"
    empty.mkdir()
    ask(empty, "init", "--quiet")
    assert git.checkout_at(empty) is None


@pytest.mark.parametrize("broken", ["", "gitdir: /nowhere/at/all", "\x00"])
def test_a_broken_checkout_is_none(tmp_path: Path, broken: str) -> None:
    (tmp_path / ".git").write_text(broken)
    assert git.checkout_at(tmp_path) is None


def test_what_a_deployment_says_needs_no_checkout() -> None:
    found = git.given("0123abc", "main", "git@example.org:shop.git")
    assert git.described(found) == git.Code(commit="0123abc", branch="main", repository="git@example.org:shop.git")
