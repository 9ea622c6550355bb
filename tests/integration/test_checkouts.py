"""Which code submitted an execution, and which ran it, as the registry keeps it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import executions
from executions import Client
from executions.git import checkout_at, given
from executions.registry.transitions import Transitions
from tests.checkouts import commit_in
from tests.conftest import Eventually


@pytest.fixture
def client(
    server_url: str, broker_url: str, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Client]:
    """A client in a checkout of its own."""
    commit_in(tmp_path, "Faster", remote="git@example.org:shop.git")
    monkeypatch.chdir(tmp_path)
    made = executions.connect(server_url, broker=broker_url, namespace=namespace)
    yield made
    made.close()


@pytest.mark.feature("C24")
def test_all_of_it_is_told_and_found(client: Client, tmp_path: Path, eventually: Eventually) -> None:
    (tmp_path / "file").write_text("changed")
    made = client.submit("shop.add", 1, 2)
    own = checkout_at(tmp_path)
    assert own is not None
    assert made.code is not None
    assert (made.code.commit, made.code.branch) == (own.commit, "main"), "known at once"
    eventually(lambda: (made.refresh().code or made.code).author is not None)
    code = made.refresh().code
    assert code == executions.Code(
        commit=own.commit, branch="main", repository="git@example.org:shop.git", author="Ann <ann@example.org>",
        message="Faster", is_dirty=True,
    )  # fmt: skip
    for query, count in ((f"commit:{own.commit}", 1), ("branch:main", 1), ("branch:other", 0)):
        assert client.executions.count(query) == count, query
    assert client.executions.facets(by="branch")["branch"]["main"] == 1
    (listed,) = client.executions.list("branch:main")
    assert listed.code is not None
    assert listed.code.commit == own.commit


def test_a_worker_of_another_commit_is_told_as_well(client: Client) -> None:
    made = client.submit("shop.add", 1, 2)
    assert made.code is not None
    released, same = given("f00d", "release"), given(made.code.commit)
    theirs = Transitions(client._parts.space, lambda: released)
    theirs.start(made.id, 1, worker="w", pid=1, pool="solo")
    ran = made.refresh().ran
    assert ran is not None
    assert ran.commit == "f00d"
    theirs.retry(made.id, 1, message="again")
    Transitions(client._parts.space, lambda: same).start(made.id, 2, worker="w", pid=1, pool="solo")
    assert made.refresh().ran is None, "the second attempt ran what was submitted"


@pytest.mark.feature("C24")
def test_outside_of_a_checkout_nothing_is_told(
    server_url: str, broker_url: str, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    client = executions.connect(server_url, broker=broker_url, namespace=namespace)
    made = client.submit("shop.add", 1, 2)
    assert (made.code, made.refresh().code) == (None, None)
    client.close()


def test_an_image_without_git_says_what_it_is(server_url: str, broker_url: str, namespace: str) -> None:
    client = executions.connect(
        server_url, broker=broker_url, namespace=namespace, git_commit="cafe", git_branch="release"
    )
    made = client.submit("shop.add", 1, 2)
    assert made.refresh().code == executions.Code(commit="cafe", branch="release")
    client.close()
