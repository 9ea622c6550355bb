"""Every way that a run can end, as the record tells it and as stock Celery clients see it."""

from __future__ import annotations

import pytest
from celery.exceptions import TaskRevokedError, WorkerLostError
from celery.exceptions import TimeoutError as CeleryTimeout

from executions import Conflict, ExecutionFailed
from tests.acceptance.fleet import Fleet, eventually, lines, words

HAPPY = ["pending/queued", "running/started", "success"]
AGAIN = ["pending/retrying", "running/started"]


@pytest.mark.feature("D55")
def test_a_failure_is_recorded_with_its_reason(prefork: Fleet) -> None:
    result = prefork.shop.fail.delay("boom")
    with pytest.raises(ValueError, match="boom"):
        result.get(timeout=20)
    done = prefork.done(result)
    assert (done.status, done.reason) == ("failed", "error")
    assert done.message == "ValueError: boom"
    assert (done.error.type, done.error.message) == ("ValueError", "boom")
    assert "shop.py" in done.error.frame
    assert "raise ValueError(text)" in done.error.traceback
    assert "boom" in result.traceback
    assert result.failed()


@pytest.mark.feature("X09")
def test_an_own_exception_comes_back_as_its_type(prefork: Fleet) -> None:
    result = prefork.shop.fail_own.delay()
    with pytest.raises(prefork.shop.ShopError) as raised:
        result.get(timeout=20)
    assert raised.value.args == ("sold out", 42)
    with pytest.raises(prefork.shop.ShopError, match="sold out"):
        prefork.done(result).result()


def test_retry_keeps_the_id_and_counts_attempts(prefork: Fleet) -> None:
    result = prefork.shop.flaky.delay(3, 0.05)
    assert result.get(timeout=20) == 3
    done = prefork.done(result)
    assert words(done) == ["pending/queued", "running/started", *AGAIN, *AGAIN, "success"]
    assert done.attempts == 3
    assert [attempt.status for attempt in done.attempts_log] == ["failed", "failed", "success"]
    assert [attempt.error.message if attempt.error else None for attempt in done.attempts_log] == [
        "try 1", "try 2", None,
    ]  # fmt: skip
    assert done.parent_id is None


def test_retries_exhausted_raise_the_last_error(prefork: Fleet) -> None:
    result = prefork.shop.flaky.delay(99)
    with pytest.raises(prefork.shop.ShopError, match="try 3"):
        result.get(timeout=20)
    done = prefork.done(result)
    assert (done.status, done.reason, done.attempts) == ("failed", "error", 3)
    assert done.message == "ShopError: try 3"


@pytest.mark.feature("D48")
@pytest.mark.feature("D49")
def test_a_rerun_has_all_its_retries_again(prefork: Fleet) -> None:
    done = prefork.done(prefork.shop.flaky.delay(6))
    assert (done.status, done.attempts) == ("failed", 3)
    again = done.rerun().wait(20)
    assert (again.status, again.attempts, again.output) == ("success", 6, 6)


def test_autoretry_with_backoff(prefork: Fleet) -> None:
    path = prefork.path()
    result = prefork.shop.autoflaky.delay(path, 3)
    assert result.get(timeout=20) == 3
    done = prefork.done(result)
    assert words(done) == ["pending/queued", "running/started", *AGAIN, *AGAIN, "success"]


@pytest.mark.parametrize(
    ("succeed_at", "error", "status", "runs"),
    [
        (3, "ShopError", "success", 3),
        (9, "ShopError", "failed", 3),
        (3, "KeyError", "failed", 1),
        (3, "ValueError", "failed", 1),
    ],
)
def test_our_retry_policy(prefork: Fleet, succeed_at: int, error: str, status: str, runs: int) -> None:
    path = prefork.path()
    done = prefork.done(prefork.shop.policy_flaky.delay(path, succeed_at, error))
    assert (done.status, done.attempts, lines(path)) == (status, runs, runs)
    if runs > 1:
        assert words(done)[2] == "pending/retrying"


def test_ignore_ends_without_output(prefork: Fleet) -> None:
    done = prefork.done(prefork.shop.ignored.delay())
    assert (done.status, done.message) == ("success", "ended by Ignore")
    assert done.output is None


def test_reject_without_requeue_is_a_failure(prefork: Fleet) -> None:
    path = prefork.path()
    result = prefork.shop.rejected.delay(False, path)
    done = prefork.done(result)
    assert (done.status, done.reason) == ("failed", "rejected")
    assert "not today" in done.message
    assert result.state == "FAILURE"


def test_reject_with_requeue_runs_again(prefork: Fleet) -> None:
    path = prefork.path()
    result = prefork.shop.rejected.delay(True, path)
    done = prefork.done(result)
    assert (done.status, done.output, done.attempts, lines(path)) == ("success", "second", 2, 2)


@pytest.mark.parametrize("how", ["kill", "exit"])
def test_a_killed_child_is_a_lost_worker_within_two_seconds(prefork: Fleet, how: str) -> None:
    path = prefork.path()
    result = prefork.shop.die.delay(how, path)
    eventually(lambda: lines(path), "death")
    done = prefork.done(result, timeout=2)
    assert (done.status, done.reason) == ("failed", "worker-lost")
    assert done.error.kind == "system"
    with pytest.raises(WorkerLostError):
        result.get(timeout=5)
    assert lines(path) == 1


def test_a_killed_child_runs_again_where_the_policy_says_so(prefork: Fleet) -> None:
    path = prefork.path()
    result = prefork.shop.die_once.delay(path)
    assert result.get(timeout=20) == "survived"
    done = prefork.done(result)
    assert words(done) == ["pending/queued", "running/started", "pending/rerun", "running/started", "success"]
    assert done.attempts == 2
    assert done.attempts_log[0].error.type == "WorkerLostError"


def test_max_attempts_bounds_the_reruns(prefork: Fleet) -> None:
    path = prefork.path()
    done = prefork.done(prefork.shop.die_once.delay(path, 99))
    assert (done.status, done.reason, done.attempts) == ("failed", "worker-lost", 2)
    assert lines(path) == 2


def test_reject_on_worker_lost_runs_again(prefork: Fleet) -> None:
    path = prefork.path()
    result = prefork.shop.die_late.delay(path)
    assert result.get(timeout=20) == "survived"
    done = prefork.done(result)
    assert done.attempts == 2
    assert lines(path) == 2


@pytest.mark.parametrize(
    ("how", "type_name"),
    [("sys", "SystemExit"), ("sysok", "SystemExit"), ("base", "BaseException"), ("keyboard", "KeyboardInterrupt"),
     ("generator", "GeneratorExit"), ("memory", "MemoryError")],
)  # fmt: skip
def test_base_exceptions_fail_the_function_and_not_the_worker(prefork: Fleet, how: str, type_name: str) -> None:
    path = prefork.path()
    result = prefork.shop.die.delay(how, path)
    done = prefork.done(result)
    assert (done.status, done.reason) == ("failed", "error")
    assert type_name in done.message
    with pytest.raises(MemoryError if how == "memory" else ExecutionFailed):
        result.get(timeout=5)
    # and the same worker goes on
    assert prefork.done(prefork.shop.add.delay(1, 1)).output == 2


@pytest.mark.parametrize("copy_returns", [False, True])
def test_a_forked_copy_records_nothing(prefork: Fleet, copy_returns: bool) -> None:
    path = prefork.path()
    result = prefork.shop.forks.delay(path, copy_returns)
    done = prefork.done(result)
    assert words(done) == HAPPY
    assert done.output == "from the original"
    assert lines(path) == 2
    assert prefork.done(prefork.shop.add.delay(1, 1)).output == 2


def test_an_output_that_is_not_json_says_where(prefork: Fleet) -> None:
    result = prefork.shop.returns_set.delay()
    done = prefork.done(result)
    assert (done.status, done.reason) == ("failed", "error")
    assert "output['found'][1] cannot be written as JSON: a set is not JSON" in done.message


@pytest.mark.parametrize(
    ("kind", "type_name", "text"),
    [
        ("unpicklable", "Unpicklable", "17: no stock"),
        ("unprintable", "Unprintable", "<unprintable: RuntimeError>"),
        ("recursion", "RecursionError", "maximum recursion depth"),
        ("local", "Local", "only here"),
        ("surrogate", "ValueError", "broken"),
        ("group", "ExceptionGroup", "several"),
        ("cause", "ShopError", "outer"),
    ],
)
def test_odd_exceptions_are_told_faithfully(prefork: Fleet, kind: str, type_name: str, text: str) -> None:
    result = prefork.shop.raise_odd.delay(kind)
    done = prefork.done(result)
    assert (done.status, done.reason) == ("failed", "error")
    assert done.error.type.endswith(type_name)
    assert text in done.error.message
    assert result.state == "FAILURE"
    with pytest.raises(Exception):  # noqa: B017, PT011 -- of whichever type can be made again
        result.get(timeout=5)
    assert prefork.done(prefork.shop.add.delay(1, 1)).output == 2


def test_custom_states_are_visible_to_celery(prefork: Fleet) -> None:
    path = prefork.path()
    result = prefork.shop.custom_state.delay(path)
    eventually(lambda: result.state == "BAKING", "custom state")
    assert result.info == {"percent": 40}
    assert prefork.client.executions.get(result.id).status == "running"
    prefork.shop.touch(path)
    assert result.get(timeout=20) == "baked"
    assert result.state == "SUCCESS"


def test_forget_drops_the_result_and_keeps_the_record(prefork: Fleet) -> None:
    result = prefork.shop.add.delay(1, 2)
    assert result.get(timeout=20) == 3
    result.forget()
    done = prefork.client.executions.get(result.id)
    assert words(done) == HAPPY
    assert done.output is None


def test_an_unknown_id_times_out(prefork: Fleet) -> None:
    result = prefork.shop.app.AsyncResult("nobody-knows-it")
    assert result.state == "PENDING"
    assert not result.ready()
    with pytest.raises(CeleryTimeout):
        result.get(timeout=0.2)


def test_an_unknown_function_is_rejected(prefork: Fleet) -> None:
    result = prefork.shop.app.send_task("shop.no_such_thing", (1,))
    done = prefork.done(result)
    assert (done.status, done.reason) == ("failed", "rejected")
    assert "shop.no_such_thing" in done.message
    assert result.state == "FAILURE"


def test_results_are_pushed_to_those_who_wait(prefork: Fleet) -> None:
    results = [prefork.shop.short.delay(5) for _ in range(50)]
    assert [result.get(timeout=20) for result in results] == ["ok"] * 50


def test_a_revoked_result_raises(prefork: Fleet) -> None:
    result = prefork.shop.add.apply_async((1, 1), countdown=60)
    result.revoke()
    with pytest.raises(TaskRevokedError):
        result.get(timeout=20)


@pytest.mark.feature("D50")
def test_any_end_can_be_rerun_and_nothing_else(prefork: Fleet) -> None:
    shop, path = prefork.shop, prefork.path()
    ended = [
        prefork.done(shop.add.delay(1, 1)),
        prefork.done(shop.fail.delay()),
        prefork.client.executions.get(shop.add.apply_async((1, 1), countdown=60).id).terminate(),
    ]
    for done in ended:
        again = done.rerun(sync=True)
        assert again.attempts == done.attempts + 1
        assert words(again)[: len(done.status_log)] == words(done)
    running = prefork.running(shop.hold.delay(path))
    with pytest.raises(Conflict, match="cannot be rerun"):
        running.rerun()
    shop.touch(path)


@pytest.mark.feature("D53")
@pytest.mark.feature("D54")
def test_all_that_failed_can_be_rerun_by_a_query(prefork: Fleet) -> None:
    path = prefork.path()
    failed = [prefork.done(prefork.shop.fails_until.apply_async((path,), tags=["batch"])) for _ in range(3)]
    assert {one.status for one in failed} == {"failed"}
    prefork.shop.touch(path)
    report = prefork.client.executions.rerun("status:failed AND tag:batch")
    assert (report.matched, report.done) == (3, 3)
    assert {prefork.done(one.id).wait(20).status for one in failed} == {"success"}
    assert prefork.client.executions.count("status:failed AND tag:batch") == 0


@pytest.mark.feature("F46")
def test_a_named_submit_happens_once(prefork: Fleet) -> None:
    path = prefork.path()
    first = prefork.client.submit("shop.mark", path, name="nightly")
    second = prefork.client.submit("shop.mark", path, name="nightly")
    assert first.id == second.id
    assert prefork.done(first).status == "success"
    assert lines(path) == 1


@pytest.mark.feature("X05")
def test_a_message_that_comes_twice_runs_once(prefork: Fleet) -> None:
    path = prefork.path()
    result = prefork.shop.mark.delay(path)
    prefork.client._parts.dispatcher.republish(prefork.client._parts.space, result.id)
    assert words(prefork.done(result)) == HAPPY
    prefork.done(prefork.shop.add.delay(1, 1))
    prefork.done(prefork.shop.add.delay(1, 1))
    assert lines(path) == 1
    assert prefork.client.executions.get(result.id).attempts == 1
