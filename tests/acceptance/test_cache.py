"""Reuse of outputs, as callers of every kind see it; the function's runs are counted by what it leaves behind."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord

from executions import Execution, InvalidSetting
from tests.acceptance.fleet import Fleet, events, eventually, lines, make_fleet, words

pytestmark = pytest.mark.feature("F78")


@pytest.fixture(scope="module", params=["prefork", "threads"])
def cache(request: pytest.FixtureRequest, server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet with one worker for reusing.py, of each pool in turn."""
    for fleet in make_fleet(server_url, tmp_path_factory.mktemp(request.param)):
        fleet.start(request.param, 2, app="reusing")
        yield fleet


def run(fleet: Fleet, function: str, *args: Any, **options: Any) -> Execution:
    return fleet.client.submit(f"reusing.{function}", *args, **options).wait(timeout=20)


def reused(done: Execution, source: Execution) -> bool:
    """Whether an execution ended with another's output, and says whose."""
    assert (done.reference == source.id) is (done.status == "cached")
    if done.status != "cached":
        return False
    assert done.output == source.output
    assert words(done) == ["pending/queued", "running/started", "cached"]
    assert done.message == f"the output of {source.id}"
    return done.is_successful


def test_the_same_call_is_computed_once(cache: Fleet) -> None:
    path = cache.path()
    first = run(cache, "square", 7, path)
    assert first.status == "success"
    assert first.reference is None
    # If it is called again, with its arguments by position or by name
    assert reused(run(cache, "square", 7, path), first)
    third = run(cache, "square", x=7, path=path)
    # I expect the function not to run, and all to refer to the one that did
    assert reused(third, first)
    assert lines(path) == 1
    assert cache.client.executions.count(f"status:cached AND id:{third.id}") == 1
    # and another call to be another call
    assert run(cache, "square", "7", path).status == "success"
    assert run(cache, "square", True, path).status == "success"
    assert lines(path) == 3


def test_secret_arguments_count_as_they_are(cache: Fleet) -> None:
    path = cache.path()
    first = run(cache, "square", 1, path, password="ann's")
    assert not reused(run(cache, "square", 1, path, password="bob's"), first)
    assert reused(run(cache, "square", 1, path, password="ann's"), first)
    assert lines(path) == 2


def test_however_it_is_started(cache: Fleet) -> None:
    app, path = cache.shop.app, cache.path()
    first = run(cache, "square", 2, path)
    square = app.signature("reusing.square", args=(2, path))
    total = app.signature("shop.total")
    # By name, by a program that has not its code
    sent = app.send_task("reusing.square", (2, path))
    assert sent.get(timeout=20) == [2, 2]
    assert sent.state == "SUCCESS"
    # as a step of a chain, with a step after it
    step = chain(square, total).apply_async()
    assert step.get(timeout=20) == 4
    # as members of a chord
    whole = chord([square.clone() for _ in range(3)], app.signature("shop.echo")).apply_async()
    assert whole.get(timeout=20)["args"] == [[[2, 2]] * 3]
    # with a link
    marks = cache.path()
    link = app.signature("shop.on_link", args=(marks,))
    linked = square.clone().apply_async(link=link)
    eventually(lambda: lines(marks), "the link")
    for one in (sent.id, step.parent.id, *(member.id for member in whole.parent.results), linked.id):
        assert reused(cache.done(one), first)
    assert lines(path) == 1


def test_flower_sees_a_success(cache: Fleet) -> None:
    path = cache.path()
    run(cache, "square", 3, path)
    with events(cache) as seen:
        again = run(cache, "square", 3, path)
        eventually(lambda: ("task-succeeded", again.id) in [(e["type"], e.get("uuid")) for e in seen], "its event")
    assert again.status == "cached"


def test_a_call_decides_over_its_function(cache: Fleet) -> None:
    path = cache.path()
    first = run(cache, "square", 4, path)
    # Without the cache: it neither reads nor writes.
    assert not reused(run(cache, "square", 4, path, cache=False), first)
    assert reused(run(cache, "square", 4, path), first)
    # Anew, for all that follow.
    second = run(cache, "square", 4, path, overwrite_cache=True)
    assert second.status == "success"
    assert reused(run(cache, "square", 4, path), second)
    # Another version of the same call.
    assert not reused(run(cache, "square", 4, path, cache_version="2"), second)
    assert lines(path) == 4
    # On, for a function that says nothing.
    marks = cache.path()
    assert reused(run(cache, "uncached", marks, cache=True), run(cache, "uncached", marks, cache=True)) is False
    assert run(cache, "uncached", marks).status == "success"
    assert run(cache, "uncached", marks, cache=True).status == "cached"
    assert cache.shop.app.send_task("reusing.uncached", (marks,), cache=True).get(timeout=20) == 1
    assert lines(marks) == 2


def test_overwriting_turns_the_cache_on(cache: Fleet) -> None:
    path = cache.path()
    first = run(cache, "uncached", path, overwrite_cache=True)
    assert reused(run(cache, "uncached", path, cache=True), first)


def test_an_entry_ends_with_its_time(cache: Fleet) -> None:
    path = cache.path()
    first = run(cache, "short_lived", path)
    eventually(lambda: run(cache, "short_lived", path).status == "success", "the end of its time", timeout=10)
    assert lines(path) == 2
    assert first.is_done


def test_what_failed_is_computed_again(cache: Fleet) -> None:
    path = cache.path()
    flaky = run(cache, "at_second_try", path)
    assert (flaky.status, flaky.attempts) == ("success", 2)
    assert reused(run(cache, "at_second_try", path), flaky)
    assert lines(path) == 2


def test_a_rerun_computes_anew(cache: Fleet) -> None:
    path = cache.path()
    first = run(cache, "square", 5, path)
    second = run(cache, "square", 5, path)
    assert reused(second, first)
    again = second.rerun(sync=True)
    assert (again.status, again.output, again.reference) == ("success", [5, 5], None)
    assert [attempt.status for attempt in again.attempts_log] == ["cached", "success"]
    assert lines(path) == 2
    # It is the newest now.
    assert reused(run(cache, "square", 5, path), again)


def test_a_source_that_is_gone_or_runs_again_is_a_miss(cache: Fleet) -> None:
    path = cache.path()
    first = run(cache, "square", 6, path)
    cache.shop.app.AsyncResult(first.id).forget()
    second = run(cache, "square", 6, path)
    assert second.status == "success"
    assert second.rerun(sync=True).attempts == 2
    # The second attempt is what counts, and the first one's entry says nothing any more.
    assert reused(run(cache, "square", 6, path), second.refresh())
    assert lines(path) == 3


def test_a_large_output_is_reused_by_its_reference(cache: Fleet) -> None:
    path, size = cache.path(), 200 * 1024
    first = run(cache, "large", path, size)
    second = run(cache, "large", path, size)
    assert reused(second, first)
    assert second._raw["or"] == first._raw["or"]
    assert len(cache.shop.app.AsyncResult(second.id).get(timeout=20)) == size
    # Without the payload it is computed again.
    for file in Path(cache.environ["EXECUTIONS_PAYLOADS"]).rglob(first._raw["or"].rpartition(".")[2]):
        file.unlink()
    assert run(cache, "large", path, size).status == "success"
    assert lines(path) == 2


def test_a_call_whose_output_nobody_wants_runs_each_time(cache: Fleet) -> None:
    path = cache.path()
    calls = [cache.shop.app.send_task("reusing.square", (8, path), ignore_result=True) for _ in range(2)]
    assert [cache.done(call).status for call in calls] == ["success"] * 2
    assert lines(path) == 2


def test_coroutines_and_services_are_reused_too(cache: Fleet) -> None:
    path, marks = cache.path(), cache.path()
    assert reused(run(cache, "awaits", path), cache.done(run(cache, "awaits", path, overwrite_cache=True))) is False
    assert run(cache, "awaits", path).status == "cached"
    service = cache.client.services.get("cook")
    first = service.execute("bake", path=marks, sync=True)
    assert reused(service.execute("bake", path=marks, sync=True), first)
    service.cache = False
    service.update()
    eventually(lambda: service.execute("bake", path=marks, sync=True).status == "success", "the new policy")
    assert lines(marks) == 2


def test_an_eager_run_reuses_as_well(cache: Fleet) -> None:
    path = cache.path()
    first = run(cache, "versioned", path)
    sys.modules.pop("reusing", None)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        module = importlib.import_module("reusing")
    eager = module.versioned.apply((path,))
    assert eager.get() == "of version 2"
    assert reused(cache.client.executions.get(eager.id), first)


def test_bad_options_are_refused_and_foreign_attributes_left_alone(cache: Fleet) -> None:
    app = cache.shop.app

    def cook() -> None:
        """Does nothing."""

    with pytest.raises(InvalidSetting, match="cache_ttl must be a positive whole number"):
        app.send_task("reusing.square", (1,), cache_ttl=0)
    with pytest.raises(InvalidSetting, match="cache must be True or False"):
        app.task(cache="yes", name="reusing.bad")(cook)
    # What an app keeps in an attribute of its own classes stays its own.
    kept = app.task(base=type("Kept", (app.Task,), {"cache": {"a": 1}}), name="reusing.kept")(cook)
    assert kept.cache == {"a": 1}
