"""What people change of an execution: all of it or nothing, and never over what they have not seen."""

from __future__ import annotations

import pytest

from executions.registry.edits import NOTES_MOST, Edit, Full, Moved
from executions.registry.outcomes import Missing
from executions.registry.pruning import Old, Pruning
from executions.registry.queries import Queries
from tests.contract.world import SUCCESS, World


@pytest.fixture
def one(world: World) -> str:
    made = world.submit(tags=("gpu", "nightly"), properties={"lr": "0.1", "note": '"old"'})
    world.start(made)
    return made


def test_tags_and_properties_come_and_go_with_what_finds_them(world: World, one: str) -> None:
    edit = Edit(
        add_tags=["seen", "nightly"], drop_tags=["gpu"], properties={"lr": "0.2", "who": '"ann"'},
        drop_properties=["note", "never"],
    )  # fmt: skip
    assert world.parts.edits.edit(one, edit) is None
    picture, queries = world.picture(one), Queries(world.space)
    assert picture.tags == ("nightly", "seen")
    assert picture.properties == {"lr": 0.2, "who": "ann"}
    found = {
        "tag:gpu": 0, "tag:seen": 1, "property.lr=0.1": 0, "property.lr=0.2": 1, "property.who=ann": 1,
        "has:property.note": 0, "property.note=old": 0,
    }  # fmt: skip
    assert {query: queries.count(query) for query in found} == found
    world.check()
    # the last ones as well
    assert world.parts.edits.edit(one, Edit(drop_tags=["nightly", "seen"], drop_properties=["lr", "who"])) is None
    assert (world.picture(one).tags, world.picture(one).properties) == ((), {})
    world.check()


@pytest.mark.parametrize(
    "meanwhile",
    [
        Edit(add_tags=["seen"]), Edit(drop_tags=["gpu"]), Edit(properties={"lr": "0.3"}), Edit(drop_properties=["lr"]),
        Edit(properties={"new": "1"}),
    ],
    ids=["tag added", "tag removed", "property changed", "property removed", "property added"],
)  # fmt: skip
def test_nothing_is_written_over_what_the_caller_has_not_seen(world: World, one: str, meanwhile: Edit) -> None:
    seen = world.raw(one)
    world.parts.edits.edit(one, meanwhile)
    before = world.snapshot()
    mine = Edit(add_tags=["mine"], properties={"lr": "0.5"}, seen=seen)
    assert world.parts.edits.edit(one, mine) == Moved()
    assert world.snapshot() == before
    # Read again it goes
    assert world.parts.edits.edit(one, Edit(add_tags=["mine"], seen=world.raw(one))) is None


def test_what_a_function_reports_meanwhile_is_in_nobodys_way(world: World, one: str) -> None:
    seen = world.raw(one)
    world.transitions.annotate(one, 1, fields=("pc", 40, "m.loss", "0.5"))
    world.transitions.finish(one, 1, SUCCESS)
    assert world.parts.edits.edit(one, Edit(properties={"lr": "0.5"}, seen=seen)) is None
    assert world.picture(one).latest_metrics == {"loss": 0.5}


def test_too_many_tags_or_properties_are_refused_whole(world: World, one: str) -> None:
    before = world.snapshot()
    assert world.parts.edits.edit(one, Edit(add_tags=[f"t{n}" for n in range(99)])) == Full()
    many = {f"p{n}": "1" for n in range(999)}
    assert world.parts.edits.edit(one, Edit(add_tags=["fits"], properties=many)) == Full()
    assert world.snapshot() == before
    assert world.parts.edits.edit(one, Edit(add_tags=[f"t{n}" for n in range(98)])) is None
    assert len(world.picture(one).tags) == 100
    # One that goes makes room for another
    assert world.parts.edits.edit(one, Edit(add_tags=["new"], drop_tags=["t0"])) is None


@pytest.mark.feature("C72")
def test_notes_are_kept_in_order_with_who_and_when_up_to_a_number(world: World, one: str) -> None:
    texts = ['it "reads"\nthe wrong table', "ünïcode \U0001f600 / \\", "third"]
    for number, text in enumerate(texts, 1):
        assert world.parts.edits.note(one, f"user {number}", text) == number
    notes = world.picture(one).notes
    assert [(note.principal, note.text) for note in notes] == [(f"user {n}", text) for n, text in enumerate(texts, 1)]
    created = world.picture(one).created
    assert created is not None
    assert [created, *(note.timestamp for note in notes)] == sorted([created, *(note.timestamp for note in notes)])  # type: ignore[type-var]
    for _ in range(NOTES_MOST - 3):
        world.parts.edits.note(one, "ann", "one more")
    assert world.parts.edits.note(one, "ann", "one too many") == Full()
    assert len(world.picture(one).notes) == world.picture(one).note_count == NOTES_MOST


@pytest.mark.feature("C72")
def test_notes_are_found_and_go_with_their_execution(world: World, one: str) -> None:
    queries, other = Queries(world.space), world.submit()
    world.parts.edits.note(one, "ann", "Disk was full, see runbook")
    assert [found.id for found in queries.page("has:note")] == [one]
    assert [found.id for found in queries.page("-has:note")] == [other]
    assert queries.count("has:note").scanned == 0
    # Of all that there are, only those with notes are read
    assert queries.count("note:disk").scanned == 1
    assert (queries.count('note:"was FULL"'), queries.count("note:cpu")) == (1, 0)
    assert queries.page("has:note").items[0].note_count == 1
    world.transitions.finish(one, 1, SUCCESS)
    Pruning(world.space).prune(world.space.keys(one), [Old(int(world.raw(one)["no"]), one)])
    world.ids.remove(one)
    assert queries.count("has:note") == 0
    world.check()


def test_what_is_not_there_is_said_to_be_missing(world: World) -> None:
    assert world.parts.edits.edit("nothing", Edit(add_tags=["a"])) == Missing()
    assert world.parts.edits.note("nothing", "ann", "x") == Missing()
