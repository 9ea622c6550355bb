"""Saved views: one list for everybody, in which nobody writes over what they have not seen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from executions import Changed, Client, Conflict, InvalidInput, NotFound, connect
from executions.client.views import MOST_OF_ONE
from executions.view import SYSTEM


@pytest.fixture
def of(server_url: str, namespace: str) -> Iterator[Callable[[str], Client]]:
    """Give a client of somebody."""
    with connect(server_url, namespace=namespace) as client:
        yield client.acting_as


def names(client: Client) -> list[str]:
    return [view.name for view in client.views.list()][len(SYSTEM) :]


def test_a_view_of_ones_own_is_seen_by_its_owner_and_a_shared_one_by_all(of: Callable[[str], Client]) -> None:
    ann, bob = of("ann"), of("bob")
    own = ann.views.create("  Night  shift ", "tag:nightly", sort="-duration", columns=["created", "property.lr"])
    shared = ann.views.create("Failures", "status:failed", shared=True)
    assert (own.name, own.query, own.sort, own.columns, own.owner, own.version) == (
        "Night shift", "tag:nightly", "-duration", ("created", "property.lr"), "ann", 1,
    )  # fmt: skip
    assert own.created == own.updated
    assert own.created is not None
    assert (names(ann), names(bob)) == (["Failures", "Night shift"], ["Failures"])
    assert bob.views.get("failures") == bob.views.get(shared.id) == shared
    with pytest.raises(NotFound, match="somebody else's own"):
        bob.views.get(own.id)
    for attempt in (bob.views.remove, lambda view: bob.views.change(view, name="mine")):
        with pytest.raises(NotFound):
            attempt(own)
    # Of two with one name one's own is meant
    mine = bob.views.create("Failures", "status:failed AND user:bob")
    assert (bob.views.get("failures").id, ann.views.get("failures").id) == (mine.id, shared.id)
    assert bob.views.get("running").is_system


def test_two_who_edit_one_view_do_not_overwrite_each_other(of: Callable[[str], Client]) -> None:
    ann, bob = of("ann"), of("bob")
    seen = ann.views.create("Failures", "status:failed", shared=True)
    changed = bob.views.change(seen, query="status:failed AND tag:nightly")
    assert (changed.version, changed.updated_by, changed.owner) == (2, "bob", "ann")
    with pytest.raises(Changed, match="bob has changed the view"):
        ann.views.change(seen, name="Mine")
    with pytest.raises(Changed):
        ann.views.remove(seen)
    # Only its owner can take a shared one back
    with pytest.raises(Conflict, match="only ann"):
        bob.views.change(changed, shared=False)
    back = ann.views.change(changed, shared=False)
    assert names(bob) == []
    ann.views.remove(back)
    with pytest.raises(NotFound):
        ann.views.remove(back)


def test_what_cannot_be_kept_is_refused_with_words(of: Callable[[str], Client]) -> None:
    ann = of("ann")
    given: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
        "no name": ({"name": " "}, InvalidInput, "from 1 to 80"),
        "long name": ({"name": "x" * 81}, InvalidInput, "from 1 to 80"),
        "odd name": ({"name": "a\x00b"}, InvalidInput, "from 1 to 80"),
        "query": ({"name": "x", "query": "statsu:failed"}, InvalidInput, "unknown field"),
        "sort": ({"name": "x", "sort": "name"}, InvalidInput, "sort"),
        "column": ({"name": "x", "columns": ["statsu"]}, InvalidInput, "did you mean 'status'"),
        "taken": ({"name": "RUNNING"}, Conflict, "already"),
    }
    for options, kind, said in given.values():
        with pytest.raises(kind, match=said):
            ann.views.create(**options)
    with pytest.raises(InvalidInput, match="comes with the system"):
        ann.views.change(SYSTEM[0], name="Mine")
    with pytest.raises(InvalidInput, match="owner of a view cannot be changed"):
        ann.views.change(ann.views.create("x"), owner="bob")
    with pytest.raises(Conflict, match="already"):
        ann.views.create("X")
    assert names(ann) == ["x"]


def test_many_at_once_keep_names_apart_and_the_number_bounded(of: Callable[[str], Client]) -> None:
    ann = of("ann")
    for number in range(MOST_OF_ONE - 4):
        ann.views.create(f"view {number}")
    outcomes: list[str] = []

    def create(name: str) -> None:
        try:
            of("ann").views.create(name)
        except Conflict as error:
            outcomes.append("taken" if "already" in str(error) else "full")
        else:
            outcomes.append("kept")

    threads = [threading.Thread(target=create, args=(name,)) for name in ("a", "a", "b", "b", "c", "d", "e", "f")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("kept") == 4
    assert len(names(ann)) == len(set(names(ann))) == MOST_OF_ONE
    assert of("bob").views.create("another's").owner == "bob"


def test_counts_come_from_indexes_only_and_stand_for_a_minute(of: Callable[[str], Client]) -> None:
    ann = of("ann")
    for number in range(3):
        ann.submit("shop.add", number, 2, tags=["a"] if number else [])
    views = [
        ann.views.create("tagged", "tag:a"), ann.views.create("both", "tag:a AND status:pending"),
        ann.views.create("words", "needle"), ann.views.create("today", "created:today AND tag:a"), *SYSTEM,
    ]  # fmt: skip
    counts = ann.views.counts(views)
    found = {view.name: counts[view.id] for view in views if view.id in counts}
    assert found == {
        "tagged": 2, "both": 2, "today": 2, "Running": 0, "Waiting": 3, "Failed today": 0, "Slowest today": 0,
        "With notes": 0,
    }  # fmt: skip
    # A minute later is soon enough for the next one, and a page does not wait for many
    ann.submit("shop.add", 9, 9, tags=["a"])
    assert ann.views.counts([*views, ann.views.create("new", "tag:b")], within=0).keys() == counts.keys()
    assert ann.views.counts(views)[views[0].id] == 2
