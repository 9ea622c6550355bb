"""What workers tell of their functions, and what that mends for clients who do not have the code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from executions import Client, InvalidInput, NotFound, connect
from tests.acceptance.fleet import Fleet, eventually


@pytest.fixture(scope="module")
def known(fleet: Fleet) -> Fleet:
    """A worker that has told of its functions."""
    fleet.start("threads", 2, "-Q", "declared,celery", app="catalogue")
    eventually(lambda: any(one.name == "catalogue.train" for one in fleet.client.functions.list()), "the catalogue")
    return fleet


@pytest.fixture
def far(known: Fleet) -> Iterator[Client]:
    """A client without any code."""
    with connect(known.url, namespace=known.client.settings.namespace) as client:
        yield client


def test_a_function_is_described_by_its_worker(far: Client) -> None:
    function = far.functions.get("catalogue.train")
    assert (function.about, function.tags, function.queue) == ("Train a model.", ("gpu",), "declared")
    assert function.parameters is not None
    assert [(one.name, one.required, one.annotation, one.default) for one in function.parameters.each] == [
        ("dataset", True, "str", ""), ("pin", False, "int", "[redacted]"), ("epochs", False, "int", "1"),
    ]  # fmt: skip
    assert function.alive
    assert function.told_by
    assert not [one for one in far.functions.list() if one.name.startswith("celery.")]
    with pytest.raises(NotFound, match=r"catalogue\.nothing"):
        far.functions.get("catalogue.nothing")


def test_a_call_by_name_carries_what_the_decorator_says(far: Client) -> None:
    done = far.submit("catalogue.train", "mnist", 1234, tags=["mine"]).wait(timeout=30)
    assert (done.tags, done.pipeline, done.stage, done.queue) == (("gpu", "mine"), "nightly", "train", "declared")
    assert done.output == ["mnist", 1234, 1]
    assert 1234 not in done.inputs["args"]
    assert far.submit("catalogue.train", "mnist", stage="other").stage == "other"
    served = far.submit("worked.work", item=1).wait(timeout=30)
    assert (served.service, served.output) == ("worked", 2)


def test_a_service_that_would_not_govern_a_call_is_refused(far: Client) -> None:
    with pytest.raises(InvalidInput, match=r"catalogue\.bound is of no service, so it cannot run under 'worked'"):
        far.submit("catalogue.bound", 1, service="worked")


def test_a_service_that_did_not_govern_is_not_on_the_record(known: Fleet, far: Client) -> None:
    # Given a client that knows nothing of the functions
    far._parts.catalogue.function = lambda name: None  # type: ignore[method-assign]
    wrong = far.submit("catalogue.bound", 1, service="worked").wait(timeout=30)
    right = far.submit("worked.work", item=1).wait(timeout=30)
    # I expect the worker to put both records right, and the lists
    assert wrong.service is None
    assert right.service == "worked"
    listed = {one.id for one in far.executions.list("service:worked", limit=50)}
    assert (wrong.id in listed, right.id in listed) == (False, True)


def test_a_relaunch_changes_what_was_given_by_position(far: Client) -> None:
    first = far.submit("catalogue.train", "mnist", epochs=2).wait(timeout=30)
    assert first.relaunch(dataset="digits").wait(timeout=30).output == ["digits", 0, 2]
    with pytest.raises(InvalidInput, match="no input 'epoch'; it takes 'dataset', 'pin', 'epochs'"):
        first.relaunch(epoch=3)


@pytest.mark.feature("F44")
@pytest.mark.parametrize(
    ("function", "args", "kwargs", "named"),
    [
        ("catalogue.train", ("a",), {"epoch": 1}, r"catalogue\.train has no input 'epoch'"),
        ("catalogue.train", (), {"epochs": 1}, r"catalogue\.train is missing its input 'dataset'"),
        ("catalogue.train", (1, 2, 3), {}, r"catalogue\.train takes 2 inputs by position, not 3"),
        ("catalogue.train", ("a",), {"dataset": "b"}, "its input 'dataset' twice"),
        ("catalogue.bound", (), {}, "missing its input 'x'"),
        ("catalogue.bound", ("1",), {}, r"catalogue\.bound takes 'x' as int, not as str"),
        ("catalogue.bound", (1,), {"y": None}, "takes 'y' as int, not as NoneType"),
        ("catalogue.train", (["mnist"],), {}, "takes 'dataset' as str, not as list"),
        ("worked.work", (), {}, "missing its input 'item'"),
        ("worked.work", (1,), {"progress": 1}, "no input 'progress'"),
    ],
)
def test_wrong_inputs_are_refused_at_launch(
    far: Client, function: str, args: tuple[Any, ...], kwargs: dict[str, Any], named: str
) -> None:
    before = far.executions.count()
    with pytest.raises(InvalidInput, match=named):
        far.submit(function, *args, **kwargs)
    assert far.executions.count() == before
    assert far.submit("catalogue.anything", 1, 2, z=3).wait(timeout=30).output == 3


@pytest.mark.feature("F44")
def test_one_wrong_input_keeps_its_whole_batch_out(far: Client) -> None:
    before = far.executions.count()
    with pytest.raises(InvalidInput, match="no input 'z'"):
        far.map("catalogue.bound", [{"x": 1}, {"z": 2}])
    assert far.executions.count() == before


def test_a_catalogue_out_of_reach_keeps_nobody_from_a_submit(far: Client) -> None:
    space = far._parts.space
    key = f"{space.namespace}:{{0}}:functions"
    kept = space.client.hgetall(key)
    space.client.rename(key, f"{key}-aside")
    space.client.set(key, "not a hash")
    try:
        assert far.submit("catalogue.bound", 1).wait(timeout=30).output == 1
    finally:
        space.client.delete(key)
        space.client.hset(key, mapping=kept)  # type: ignore[arg-type]


def test_the_catalogue_costs_a_steady_submit_nothing(far: Client) -> None:
    far.submit("catalogue.bound", 1)
    far._parts.catalogue.read = None  # type: ignore[assignment,method-assign]
    assert far.submit("catalogue.bound", 1).wait(timeout=30).output == 1
