"""The cache of outputs: an entry counts only while the very attempt that it names still has its output."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from executions.registry.cache import Source, digest_of
from executions.registry.transitions import Opened, Started
from tests.contract.world import CACHED, FAILURE, SUCCESS, World

CALL = digest_of("shop.add", "1", "[1,2]")


def computed(world: World) -> str:
    """An execution that has succeeded and said so."""
    one = world.submit()
    world.start(one)
    world.transitions.finish(one, 1, SUCCESS)
    world.parts.cache.keep(CALL, one, 1, 60)
    return one


def test_what_was_computed_is_found_until_its_time_is_over(world: World) -> None:
    assert world.parts.cache.find(CALL) is None
    one = computed(world)
    assert world.parts.cache.find(CALL) == Source(one, "7", is_reference=False)
    key = world.space.keys(CALL).cached(CALL)
    assert 0 < world.space.client.ttl(key) <= 60
    # The newest counts.
    other = computed(world)
    found = world.parts.cache.find(CALL)
    assert found is not None
    assert found.id == other


def gone(world: World, one: str) -> None:
    world.space.client.delete(world.space.keys(one).record(one))


def opened_again(world: World, one: str) -> None:
    assert world.rerun(one) == Opened(2)


def running_again(world: World, one: str) -> None:
    opened_again(world, one)
    assert isinstance(world.start(one, 2), Started)


def failed_since(world: World, one: str) -> None:
    running_again(world, one)
    world.transitions.finish(one, 2, FAILURE)


def succeeded_since(world: World, one: str) -> None:
    """And died before it could say so: its entry is that of the attempt before."""
    running_again(world, one)
    world.transitions.finish(one, 2, SUCCESS)


def forgotten(world: World, one: str) -> None:
    world.space.client.hdel(world.space.keys(one).record(one), "out")


@pytest.mark.parametrize(
    "then",
    [gone, opened_again, running_again, failed_since, succeeded_since, forgotten],
    ids=lambda then: then.__name__,
)
@pytest.mark.feature("F78")
def test_an_output_that_is_not_there_any_more_is_not_found(world: World, then: Callable[[World, str], None]) -> None:
    then(world, computed(world))
    assert world.parts.cache.find(CALL) is None


def test_large_outputs_are_found_by_their_reference(world: World) -> None:
    one = world.submit()
    world.start(one)
    world.transitions.finish(one, 1, SUCCESS)
    world.space.client.hset(world.space.keys(one).record(one), mapping={"or": "@abc"})
    world.parts.cache.keep(CALL, one, 1, 60)
    assert world.parts.cache.find(CALL) == Source(one, "@abc", is_reference=True)


def test_a_reference_to_the_source_goes_with_the_reuse(world: World) -> None:
    # Given a relaunch whose output was reused
    one = world.submit(reference="first")
    world.start(one)
    world.transitions.finish(one, 1, CACHED)
    assert world.picture(one).reference == "another"
    # If it runs again, I expect it to refer to what it was made from
    world.rerun(one)
    assert world.picture(one).reference == "first"
    assert world.picture(one).attempts_log[0].status == "cached"


def test_calls_that_differ_have_names_that_differ() -> None:
    calls = [("f", "1", "[]"), ("f", "11", "[]"), ("f1", "1", "[]"), ("f", "1", "[[]]"), ("f", "1", "[\udcff]")]
    assert len({digest_of(*call) for call in calls}) == len(calls)
