"""However a run is started, it is recorded, and stock Celery sees what it always saw."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import celery
import pytest
from celery import Celery, Task

import executions
from executions import Conflict, NotFound
from tests.acceptance.fleet import Fleet, eventually, lines, words

#: Celery reads and writes Pydantic models since 5.5, but postponed annotations only in later releases.
PYDANTIC = pytest.mark.skipif(celery.__version__ < "5.6", reason="Celery 5.5 does not resolve postponed annotations")

HAPPY = ["pending/queued", "running/started", "success"]


def test_delay_is_recorded_from_end_to_end(prefork: Fleet) -> None:
    result = prefork.shop.add.delay(2, 3)
    done = prefork.done(result)

    assert result.get(timeout=5) == 5
    assert result.state == "SUCCESS"
    assert result.successful()
    assert (done.function, done.status, done.output) == ("shop.add", "success", 5)
    assert done.inputs == {"args": [2, 3], "kwargs": {}}
    assert words(done) == HAPPY
    assert done.attempts == 1
    assert done.root_id == done.id
    assert done.parent_id is None
    assert done.queue == "celery"
    assert done.pool == "prefork"
    assert done.worker
    assert done.pid != 0
    assert done.created <= done.started <= done.finished


def test_a_countdown_is_scheduled_first(prefork: Fleet) -> None:
    result = prefork.shop.add.apply_async((1, 1), countdown=0.5)
    waiting = prefork.client.executions.get(result.id)
    done = prefork.done(result)

    assert (waiting.status, waiting.reason) == ("pending", "scheduled")
    assert waiting.eta is not None
    assert words(done)[0] == "pending/scheduled"
    assert done.started >= waiting.eta
    assert done.output == 2


def test_an_eta_holds(prefork: Fleet) -> None:
    eta = datetime.now(UTC) + timedelta(seconds=0.5)
    done = prefork.done(prefork.shop.add.apply_async((1, 1), eta=eta))
    assert done.eta == eta
    assert done.started >= eta


def test_what_expires_never_runs(prefork: Fleet) -> None:
    path = prefork.path()
    busy = [prefork.shop.hold.delay(path) for _ in range(2)]
    for one in busy:
        prefork.running(one)
    result = prefork.shop.mark.apply_async((path + ".ran",), expires=0.2)
    expired = prefork.client.executions.get(result.id).expires
    eventually(lambda: datetime.now(UTC) > expired + timedelta(seconds=0.05), "expiry")
    prefork.shop.mark.run(path)
    done = prefork.done(result)

    assert (done.status, done.reason) == ("terminated", "expired")
    assert lines(path + ".ran") == 0
    assert result.state == "REVOKED"
    for one in busy:
        prefork.done(one)


@pytest.mark.parametrize("ahead_s", [40 * 86400, -40 * 86400])
def test_what_expires_goes_by_the_registrys_clock_and_not_by_a_workers(fleet: Fleet, ahead_s: int) -> None:
    moved = fleet.folder / f"ahead-{ahead_s}"
    moved.write_text(str(ahead_s))
    worker = fleet.start("solo", 1, "-Q", moved.name, program="tests.moved", MOVED_BY=str(moved))
    in_time = fleet.shop.add.apply_async((1, 2), queue=moved.name, expires=3600)
    late = fleet.shop.add.apply_async((1, 2), queue=moved.name, expires=0.001)
    assert fleet.done(in_time).output == 3
    assert fleet.done(late).reason == "expired"
    worker.stop()


def test_queue_priority_and_headers_arrive_and_are_recorded(prefork: Fleet) -> None:
    worker = prefork.start("solo", 1, "-Q", "vip")
    result = prefork.shop.whoami.apply_async(queue="vip", priority=7, headers={"x-shop": "north"})
    done = prefork.done(result)

    assert done.queue == "vip"
    assert worker.name in done.worker
    assert done.output["headers"] == {"x-shop": "north"}
    assert done.output["priority"] == 7
    assert done.output["attempt"] == 1
    # A rerun goes out as the first did.
    again = done.rerun().wait(30)
    assert again.output["headers"] == {"x-shop": "north"}
    assert again.output["priority"] == 7
    assert again.queue == "vip"
    assert again.attempts == 2
    worker.stop()


def test_links_run_as_executions_of_their_own(prefork: Fleet) -> None:
    path = prefork.path()
    result = prefork.shop.add.apply_async((1, 2), link=prefork.shop.on_link.s(path))
    eventually(lambda: lines(path), "link")
    done = prefork.done(result)
    assert result.get(timeout=5) == 3
    child = prefork.done(result.children[0])
    assert child.parent_id == done.id
    assert child.root_id == done.id
    assert child.output == 3


@pytest.mark.parametrize("errback", ["on_error", "on_error_id"])
def test_link_error_is_called(prefork: Fleet, errback: str) -> None:
    result = prefork.shop.fail.apply_async(link_error=getattr(prefork.shop, errback).s())
    done = prefork.done(result)
    mark = prefork.folder / f"errback-{result.id}"
    eventually(lambda: mark.exists() and mark.read_text(), "errback")
    assert (done.status, done.reason) == ("failed", "error")
    assert mark.read_text().count("\n") == 1


def test_a_chosen_id_is_kept_and_can_be_used_again_once_it_ended(prefork: Fleet) -> None:
    first = prefork.shop.add.apply_async((1, 2), task_id="my-own-id")
    assert prefork.done("my-own-id").output == 3
    assert first.get(timeout=5) == 3

    prefork.shop.add.apply_async((5, 6), task_id="my-own-id")
    done = prefork.client.executions.get("my-own-id")
    eventually(lambda: prefork.client.executions.get("my-own-id").attempts == 2, "second attempt")
    done = prefork.done("my-own-id")
    assert done.output == 11
    assert done.inputs["args"] == [5, 6]
    assert words(done) == [*HAPPY, "pending/rerun", "running/started", "success"]


def test_a_running_id_cannot_be_used_again(prefork: Fleet) -> None:
    path = prefork.path()
    prefork.shop.hold.apply_async((path,), task_id="twice")
    prefork.running("twice")
    with pytest.raises(Conflict, match="twice"):
        prefork.shop.hold.apply_async((path,), task_id="twice")
    prefork.shop.touch(path)
    assert words(prefork.done("twice")) == HAPPY


def test_send_task_by_name_from_an_app_without_the_code(prefork: Fleet) -> None:
    app = Celery("nocode", broker=prefork.url, set_as_current=False)
    executions.install(app)
    result = app.send_task("shop.add", (4, 5), kwargs={})
    assert result.get(timeout=20) == 9
    done = prefork.done(result)
    assert words(done) == HAPPY
    assert done.function == "shop.add"
    app.close()


def test_a_plain_producer_that_never_heard_of_us_is_recorded_at_the_start(prefork: Fleet) -> None:
    app = Celery("plain", broker=prefork.url, set_as_current=False)
    result = app.send_task("shop.whoami", (), headers={"x-shop": "south"})
    done = prefork.done(result)
    assert done.status == "success"
    assert done.function == "shop.whoami"
    assert done.output["headers"] == {"x-shop": "south"}
    assert done.queue == "celery"
    app.close()


def test_ignore_result_is_recorded_without_its_output(prefork: Fleet) -> None:
    done = prefork.done(prefork.shop.forgettable.delay(3))
    assert words(done) == HAPPY
    assert done.output is None
    done = prefork.done(prefork.shop.add.apply_async((3, 4), ignore_result=True))
    assert words(done) == HAPPY
    assert done.output is None


@pytest.mark.parametrize(
    ("name", "args", "output"),
    [
        ("before_install", (1,), 2),
        ("after_install", (1,), 3),
        ("shared", (4,), 8),
        ("plain_base", (5,), 5),
        ("called", (6,), {"wrapped": 6}),
        pytest.param("order", ({"item": "tea"},), {"item": "TEA", "count": 2}, marks=PYDANTIC),
        ("async_add", (1, 2), 3),
    ],
)
def test_every_way_to_declare_a_task(prefork: Fleet, name: str, args: Any, output: Any) -> None:
    # A shared task belongs to whichever app is current, and other stories make apps in this process too.
    prefork.shop.app.set_current()
    result = getattr(prefork.shop, name).delay(*args)
    done = prefork.done(result)
    assert result.get(timeout=5) == output
    assert done.output == output
    assert words(done) == HAPPY


def test_bind_gives_the_request(prefork: Fleet) -> None:
    done = prefork.done(prefork.shop.whoami.delay())
    assert done.output["id"] == done.id
    assert done.output["root"] == done.id
    assert done.output["parent"] is None
    assert done.output["retries"] == 0


def test_class_based_tasks_keep_their_hooks(prefork: Fleet) -> None:
    path = prefork.path()
    result = prefork.shop.counter.delay(path)
    assert result.get(timeout=20) == 7
    eventually(lambda: lines(path + ".return"), "after_return")
    assert (lines(path), lines(path + ".success"), lines(path + ".return")) == (1, 1, 1)
    assert prefork.done(result).function == "shop.Counter"


def test_tasks_started_by_tasks_are_their_children(prefork: Fleet) -> None:
    result = prefork.shop.spawn.delay(3)
    ids = result.get(timeout=20)
    parent = prefork.done(result)
    children = [prefork.done(one) for one in ids]
    assert {child.parent_id for child in children} == {parent.id}
    assert {child.root_id for child in children} == {parent.id}
    assert [child.id for child in result.children] == ids


def test_install_before_the_configuration(prefork: Fleet) -> None:
    app = Celery("late", set_as_current=False)
    client = executions.install(app)
    app.config_from_object({"broker_url": prefork.url})
    assert app.send_task("shop.add", (1, 1)).get(timeout=20) == 2
    assert client.settings.url == prefork.url
    app.close()
    client.close()


def test_installing_twice_changes_nothing(prefork: Fleet) -> None:
    assert executions.install(prefork.shop.app) is prefork.client


def test_an_app_that_was_not_installed_is_untouched(prefork: Fleet) -> None:
    """Both live in one process: the other one writes nothing of ours and shows stock states."""
    backend = prefork.url
    other = Celery("other", broker=backend, backend=backend, set_as_current=False)

    @other.task(name="other.double", base=Task)
    def double(x: int) -> int:
        return x * 2

    assert type(other.tasks["other.double"]).__call__ is Task.__call__
    assert double.apply((4,)).get() == 8
    result = double.apply_async((4,), queue="nobody")
    with pytest.raises(NotFound):
        prefork.client.executions.get(result.id)
    assert result.state == "PENDING"
    assert type(other.backend).__name__ == "RedisBackend"
    assert double(3) == 6
    other.close()


@pytest.mark.parametrize("how", ["apply", "always_eager"])
def test_eager_runs_have_real_statuses(prefork: Fleet, how: str) -> None:
    shop = prefork.shop
    if how == "apply":
        result, failed = shop.add.apply((1, 2)), shop.fail.apply()
    else:
        shop.app.conf.task_always_eager = True
        try:
            result, failed = shop.add.delay(1, 2), shop.fail.delay()
        finally:
            shop.app.conf.task_always_eager = False
    assert result.get() == 3
    assert failed.state == "FAILURE"
    done, broken = prefork.done(result), prefork.done(failed)
    assert words(done) == HAPPY
    assert done.output == 3
    assert (broken.status, broken.reason, broken.error.type) == ("failed", "error", "ValueError")
    assert done.pool == "eager"


def test_eager_runs_inside_a_task_are_its_children(prefork: Fleet) -> None:
    path = prefork.path()
    result = prefork.shop.nested.delay(path)
    assert result.get(timeout=20) == 10
    assert lines(path) == 1
    done = prefork.done(result)
    assert words(done) == HAPPY
    inner = [one for one in _of_function(prefork, "shop.add") if one.parent_id == done.id]
    assert [one.output for one in inner] == [7]


def _of_function(fleet: Fleet, function: str) -> list[Any]:
    space = fleet.client._parts.space
    prefix = space.keys("x").record("")
    names = [key.decode().removeprefix(prefix) for key in space.client.scan_iter(f"{prefix}*")]
    found = [fleet.client.executions.get(name) for name in names]
    return [one for one in found if one.function == function]


def test_beat_entries_are_executions(prefork: Fleet) -> None:
    beat = prefork.run_celery("beat", "-A", "shop", "beat", "--loglevel", "INFO", SHOP_BEAT="1")
    found = eventually(
        lambda: [one for one in _of_function(prefork, "shop.add") if one.inputs["args"] == [20, 3]], "a tick"
    )
    beat.stop()
    done = prefork.done(found[0])
    assert words(done) == HAPPY
    assert done.output == 23


def test_a_result_that_is_let_go_of_needs_no_connection(prefork: Fleet) -> None:
    # Given a result that nobody waited for, and a program that listens to nothing any more
    shop = prefork.shop
    assert shop.add.delay(1, 2).get(timeout=30) == 3
    result = shop.add.delay(3, 4)
    prefork.done(result)
    consumer = shop.app.backend.result_consumer
    consumer._pubsub.close()
    # If it is let go of, which is when Celery calls this, I expect that nothing is opened to stop listening
    result.backend.remove_pending_result(result)
    assert consumer._pubsub.connection is None
