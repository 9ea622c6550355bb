"""The rows of the acceptance list that no other story here is named for, one by one."""

from __future__ import annotations

import re
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from executions import Conflict, InvalidInput, NotFound, NotSerializable, Terminated, WaitTimeout, connect
from tests.acceptance.fleet import Fleet, eventually, lines, words


@pytest.fixture(scope="module")
def rows(fleet: Fleet) -> Fleet:
    """A fleet with one worker for rows.py."""
    fleet.start("prefork", 3, app="rows")
    return fleet


@pytest.mark.feature("D05", "D09", "D10", "D11", "D12")
def test_work_between_checkpoints_is_never_cut(rows: Fleet) -> None:
    # Given a function in the middle of its second step
    path, go_on = rows.path(), rows.path()
    execution = rows.client.submit("rows.steps", path, go_on)
    eventually(lambda: Path(path).exists() and "begin 2" in Path(path).read_text(), "the second step")
    running = execution.refresh()
    assert not running.to_terminate
    # If somebody else asks for its end
    asked = connect(rows.url, principal="ann").executions.get(execution.id).terminate(cause="wrong data")
    assert asked.to_terminate
    assert asked is not execution
    assert not running.to_terminate, "a picture does not change"
    assert (asked.status, asked.reason) == ("running", "terminating")
    Path(go_on).touch()
    # I expect the step to end, the next not to begin, and the record to say who asked
    done = execution.wait(timeout=20)
    assert Path(path).read_text().split("\n")[:-1] == ["begin 1", "end 1", "begin 2", "end 2"]
    assert done.latest_status["status"] == "terminated"
    assert done.to_terminate
    assert (done.stop_request.principal, done.stop_request.cause) == ("ann", "wrong data")
    with pytest.raises(Terminated, match="wrong data"):
        done.result()


@pytest.mark.feature("D06")
def test_what_was_saved_stays_and_cleanup_runs(rows: Fleet) -> None:
    marks = rows.path()
    execution = rows.client.submit("rows.cleans_up", marks)
    temporary = eventually(lambda: Path(marks).exists() and Path(marks).read_text(), "the temporary file")
    execution.terminate()
    done = execution.wait(timeout=20)
    assert done.status == "terminated"
    assert done._raw["ss"] == '{"done":7}'
    assert lines(f"{marks}.cleaned") == 1
    assert not Path(temporary).exists()


@pytest.mark.feature("D08", "D15")
def test_a_forced_stop_ends_code_without_checkpoints_and_spares_the_next(rows: Fleet) -> None:
    execution = rows.client.submit("shop.sleeping", 60)
    rows.running(execution)
    execution.terminate(force=True)
    done = execution.wait(timeout=5)
    assert done.status == "terminated"
    # If the same is asked again, late, while others run
    others = [rows.client.submit("shop.checking", 0.3) for _ in range(3)]
    execution.terminate(force=True)
    assert [other.wait(timeout=20).status for other in others] == ["success"] * 3
    assert execution.refresh().status_log == done.status_log


@pytest.mark.feature("D16", "D17", "D18", "D19", "D23", "F34", "F35", "X03")
def test_pictures_waits_and_their_limits(rows: Fleet) -> None:
    go_on = rows.path()
    held = rows.client.submit("shop.hold", go_on)
    with pytest.raises(WaitTimeout, match=held.id) as raised:
        held.wait(timeout=0.2)
    assert isinstance(raised.value, TimeoutError)
    with pytest.raises(WaitTimeout):
        held.wait(timeout=timedelta(seconds=0.2), poll_interval=timedelta(seconds=10))
    rows.running(held)
    Path(go_on).touch()
    done = held.wait(timeout=0)
    assert held.status == "pending", "a picture does not sync by itself"
    assert held.get_latest_status()["status"] == "success"
    assert done is not held
    assert f"{done.duration:.2f}"
    assert done.duration == pytest.approx((done.finished - done.started).total_seconds(), abs=0.2)
    assert rows.client.executions.get(done.id, sync=True).output == "released"
    with pytest.raises(NotFound):
        rows.client.executions.get("nobody-knows")
    with pytest.raises(InvalidInput, match="execution_id"):
        rows.client.executions.get("")


@pytest.mark.feature("D20", "D21", "D22", "X01", "X11")
def test_the_status_log_tells_everything_in_order(rows: Fleet) -> None:
    done = rows.client.submit("shop.add", 1, 2).wait(timeout=20)
    assert words(done) == ["pending/queued", "running/started", "success"]
    latest = done.latest_status
    assert latest.keys() >= {"status", "message", "timestamp", "percent_complete", "worker_id"}
    assert latest["status"] == done.status_log[-1]["status"] == "success"
    times = [entry["timestamp"] for entry in done.status_log]
    assert times == sorted(times)
    assert all(time.utcoffset() == timedelta(0) for time in times)
    assert [entry["attempt"] for entry in done.status_log] == [0, 1, 1]
    assert rows.client.executions.count(f"id:{done.id} AND status:completed") == 1


@pytest.mark.feature("D24", "D26", "D57", "F37", "X10")
def test_what_a_function_tells_is_seen_while_it_runs(rows: Fleet) -> None:
    go_on = rows.path()
    execution = rows.client.submit("rows.tells", go_on)
    seen = eventually(lambda: (one := execution.refresh()).tags and one.progress == 40 and one, "its words")
    assert seen.status == "running"
    assert seen.progress_message == "still epoch 40", "a message alone keeps the percentage"
    assert seen.properties == {"learning_rate": 0.001}
    assert seen.tags == ("told",)
    eventually(lambda: len(execution.metrics().get("loss", ())) == 3, "its metrics")
    assert [point["step"] for point in execution.metrics()["loss"]] == [0, 1, 2]
    Path(go_on).touch()
    done = execution.wait(timeout=20)
    assert done.output == {"k": 1}, "an early output stays where the function returns nothing"
    assert rows.client.executions.count("tag:told") == 1


@pytest.mark.feature("D25")
@pytest.mark.parametrize("percent", [-1, 101])
def test_progress_out_of_bounds_is_refused(rows: Fleet, percent: int) -> None:
    done = rows.client.submit("rows.out_of_bounds", percent).wait(timeout=20)
    assert done.status == "failed"
    assert str(percent) in done.message


@pytest.mark.feature("D25")
def test_a_hundred_percent_is_not_the_end(rows: Fleet) -> None:
    done = rows.client.submit("rows.full").wait(timeout=20)
    assert (done.output, done.progress) == ("after a hundred", 100)


@pytest.mark.feature("D28")
def test_only_tags_and_properties_can_be_changed(rows: Fleet) -> None:
    done = rows.client.submit("shop.add", 1, 2).wait(timeout=20)
    changed = done.update(tags=["baseline"], properties={"owner": "ann"})
    assert (changed.tags, changed.properties) == (("baseline",), {"owner": "ann"})
    with pytest.raises(InvalidInput, match="status"):
        done.update(status="failed")
    assert done.refresh().status == "success"


@pytest.mark.feature("D30", "F10", "F13", "F84")
def test_attempts_are_bounded_and_each_is_kept(rows: Fleet) -> None:
    path = rows.path()
    done = rows.client.submit("shop.policy_flaky", path, 99).wait(timeout=20)
    assert (done.status, done.attempts, lines(path)) == ("failed", 3, 3)
    assert [attempt.number for attempt in done.attempts_log] == [1, 2, 3]
    assert all(attempt.error and attempt.worker and attempt.started for attempt in done.attempts_log)


@pytest.mark.feature("D48", "D49", "D50", "D52", "F36", "X02")
def test_a_rerun_keeps_the_id_and_waits_for_its_own_attempt(rows: Fleet) -> None:
    path = rows.path()
    old = rows.client.submit("shop.policy_flaky", path, 4).wait(timeout=20)
    assert old.status == "failed"
    new = old.rerun()
    assert new is not old
    assert (new.id, old.latest_status["status"]) == (old.id, "failed")
    assert len(new.status_log) > len(old.status_log)
    done = new.wait(timeout=20)
    assert (done.status, done.attempts, done.output) == ("success", 4, 4)
    assert words(done)[: len(old.status_log)] == words(old)
    assert done.rerun(sync=True).attempts == 5
    go_on = rows.path()
    held = rows.client.submit("shop.hold", go_on)
    rows.running(held)
    with pytest.raises(Conflict):
        held.rerun()
    Path(go_on).touch()


@pytest.mark.feature("D53", "D54")
def test_many_are_rerun_by_a_query(rows: Fleet) -> None:
    flag = Path(rows.path())
    failed = [rows.client.submit("rows.sees_the_version", str(flag), tags=["many"]) for _ in range(10)]
    assert {one.wait(timeout=20).status for one in failed} == {"failed"}
    query = "status:failed AND tag:many"
    assert rows.client.executions.rerun(query, dry_run=True).done == 10
    flag.write_text("the cause is gone")
    assert rows.client.executions.rerun(query).done == 10
    assert {one.wait(timeout=20).status for one in map(lambda one: one.refresh(), failed)} <= {"success", "failed"}
    eventually(lambda: rows.client.executions.count("status:success AND tag:many") == 10, "ten successes")
    assert rows.client.executions.count(query) == 0


@pytest.mark.feature("D58")
def test_each_attempt_tells_what_it_used(rows: Fleet) -> None:
    done = rows.client.submit("rows.works").wait(timeout=20)
    [attempt] = done.attempts_log
    assert attempt.cpu_seconds > 0
    assert attempt.max_rss_mb > 1


@pytest.mark.feature("D60", "F14", "F18", "F21")
def test_listing_shows_each_as_it_is_created(rows: Fleet) -> None:
    query = "tag:listed"
    assert rows.client.executions.count(query) == 0
    made = []
    for number in range(1, 21):
        made.append(rows.client.submit("shop.add", number, 0, tags=["listed"]).id)
        assert rows.client.executions.count(query) == number
    assert [one.id for one in rows.client.executions.list(query, limit=10)] == made[:-11:-1]
    sizes, seen, cursor = [], [], None
    while True:
        page = rows.client.executions.list(query, limit=7, cursor=cursor)
        sizes.append(len(page))
        seen += [one.id for one in page]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert (sizes, seen) == ([7, 7, 6], made[::-1])


@pytest.mark.feature("F22")
def test_sorting_goes_both_ways(rows: Fleet) -> None:
    for seconds in (0.3, 0.1, 0.2):
        rows.client.submit("shop.short", int(seconds * 1000), tags=["sorted"]).wait(timeout=20)
    durations = [one.duration for one in rows.client.executions.list("tag:sorted", sort="duration")]
    assert durations == sorted(durations)
    assert [one.duration for one in rows.client.executions.list("tag:sorted", sort="-duration")] == durations[::-1]
    with pytest.raises(InvalidInput):
        rows.client.executions.list(sort="beauty")


@pytest.mark.feature("F23", "F24", "F25", "F31", "F32", "F33")
def test_inputs_outputs_and_errors_are_what_they_were(rows: Fleet) -> None:
    done = rows.client.submit("shop.echo", 1, [2, {"deep": None}], word="x").wait(timeout=20)
    assert done.inputs == {"args": [1, [2, {"deep": None}]], "kwargs": {"word": "x"}}
    assert done.output == {"args": [1, [2, {"deep": None}]], "kwargs": {"word": "x"}}
    assert done.is_done
    assert done.is_successful
    assert done.error is None
    failed = rows.client.submit("shop.fail", "boom").wait(timeout=20)
    assert failed.is_done
    assert not failed.is_successful
    assert (failed.error.message, failed.error.kind) == ("boom", "user")
    with pytest.raises(ValueError, match="boom"):
        failed.result()


@pytest.mark.feature("F46")
def test_ten_submits_of_one_name_make_one_execution(rows: Fleet) -> None:
    name, path = f"once-{rows.path()}", rows.path()
    ids: list[str] = []

    def submit() -> None:
        with connect(rows.url) as client:
            ids.append(client.submit("shop.mark", path, name=name).id)

    threads = [threading.Thread(target=submit) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 10
    assert len(set(ids)) == 1
    rows.done(ids[0])
    assert lines(path) == 1
    with pytest.warns(UserWarning, match="first inputs"):
        assert rows.client.submit("shop.mark", "elsewhere", name=name).id == ids[0]


@pytest.mark.feature("F47")
def test_a_prefix_makes_a_name_that_nobody_has(rows: Fleet) -> None:
    made = rows.client.map("shop.add", [(n, 1) for n in range(1000)], name_prefix="my_task_run")
    made.append(rows.client.submit("shop.add", 1, 2, name_prefix="my_task_run"))
    names = {str(one.name) for one in made}
    assert len(names) == 1001
    assert all(re.fullmatch("my_task_run-[0-9a-f]{19}", name) for name in names)
    assert rows.client.executions.get(made[-1].id).name == made[-1].name
    with pytest.raises(InvalidInput, match="either name or name_prefix"):
        rows.client.submit("shop.add", 1, 2, name="one", name_prefix="my")


@pytest.mark.feature("F57")
def test_a_relaunch_is_a_new_execution_with_a_reference(rows: Fleet) -> None:
    first = rows.client.submit("shop.echo", 1, word="x", tags=["first"]).wait(timeout=20)
    again = first.relaunch(word="y").wait(timeout=20)
    assert again.id != first.id
    assert again.reference == first.id
    assert again.inputs == {"args": [1], "kwargs": {"word": "y"}}
    assert again.tags == ("first",)


@pytest.mark.feature("F59")
def test_the_next_attempt_goes_on_where_the_last_one_saved(rows: Fleet) -> None:
    path = rows.path()
    done = rows.client.submit("rows.resumes", path).wait(timeout=20)
    assert (done.status, done.attempts, done.output) == ("success", 2, 8)
    assert lines(path) == 12, "no epoch ran twice"


@pytest.mark.feature("X04")
def test_a_timeout_names_the_limit_that_was_reached(rows: Fleet) -> None:
    done = rows.client.submit("shop.checking", 60, execution_timeout=1).wait(timeout=20)
    assert (done.status, done.reason) == ("failed", "timeout")
    assert "Execution stopped due to runner timeout" in done.message
    assert "execution_timeout of 1 s" in done.message
    assert 1 <= done.duration < 4


@pytest.mark.feature("D27")
def test_progress_can_be_told_from_elsewhere_while_it_runs(rows: Fleet) -> None:
    go_on = rows.path()
    held = rows.client.submit("shop.hold", go_on)
    rows.running(held)
    told = connect(rows.url).executions.get(held.id).report(progress=50, message="half of it")
    assert (told.progress, told.progress_message, told.status) == (50, "half of it", "running")
    assert held.report(message="nearly").progress == 50, "a message alone keeps the percentage"
    # A hundred is not the end, and what is out of bounds is refused.
    assert held.report(progress=100).status == "running"
    for wrong in (-1, 101, True, "half"):
        with pytest.raises(InvalidInput, match="progress must be a number from 0 to 100"):
            held.report(progress=wrong)
    Path(go_on).touch()
    done = held.wait(timeout=20)
    # Before its start and after its end there is nothing to report.
    later = rows.client.submit("shop.add", 1, 1, countdown=60)
    for one, status in ((done, "success"), (later, "pending")):
        with pytest.raises(Conflict, match=f"is {status}"):
            one.report(progress=10)
    assert words(done) == ["pending/queued", "running/started", "success"]
    assert done.refresh() == done
    later.terminate()


@pytest.mark.feature("F11")
def test_a_map_keeps_the_order_of_its_inputs_and_each_has_its_own_end(rows: Fleet) -> None:
    made = rows.client.map("shop.total", [([1, 2],), {"numbers": [3]}, ([4, "x"],), ([5],)], tags=["mapped"])
    ends = [one.wait(timeout=20) for one in made]
    assert [end.id for end in ends] == [one.id for one in made]
    assert [end.status for end in ends] == ["success", "success", "failed", "success"]
    assert [end.output for end in ends] == [3, 3, None, 5]
    assert rows.client.executions.count("tag:mapped") == 4


@pytest.mark.feature("F12", "F13", "F19", "F20")
def test_children_come_in_pages_and_attempts_by_their_number(rows: Fleet) -> None:
    parent = rows.client.submit("shop.spawn", 20).wait(timeout=20)
    children = parent.children()
    assert sorted(one.id for one in children) == sorted(parent.output)
    assert rows.client.executions.get(children[3].id).parent_id == parent.id
    query, pages, cursor = f"parent:{parent.id}", [], None
    while True:
        page = rows.client.executions.list(query, sort="created", limit=7, cursor=cursor)
        pages.append([one.id for one in page])
        cursor = page.next_cursor
        if cursor is None:
            break
    assert [len(page) for page in pages] == [7, 7, 6]
    assert [one for page in pages for one in page] == parent.output
    # The attempts of one are all on its record, and bounded with it.
    tried = rows.client.submit("shop.policy_flaky", rows.path(), 3).wait(timeout=20)
    assert {a.number: a.status for a in tried.attempts_log} == {1: "failed", 2: "failed", 3: "success"}


@pytest.mark.feature("F34", "F48")
def test_a_submit_can_wait_and_a_failure_does_not_raise(rows: Fleet) -> None:
    assert rows.client.submit("shop.add", 1, 2, wait=True).output == 3
    failed = rows.client.submit("shop.fail", wait=True)
    assert (failed.is_done, failed.is_successful) == (True, False)


@pytest.mark.feature("F60")
def test_a_stop_keeps_its_cause_and_a_second_one_changes_nothing(rows: Fleet) -> None:
    execution = rows.client.submit("shop.checking", 60)
    rows.running(execution)
    connect(rows.url, principal="ann").executions.get(execution.id).terminate(cause="wrong data")
    done = execution.wait(timeout=20)
    assert (done.status, done.message) == ("terminated", "wrong data")
    assert (done.stop_request.principal, done.stop_request.cause) == ("ann", "wrong data")
    assert done.status_log[-1]["principal"] == "ann"
    again = connect(rows.url, principal="bob").executions.get(execution.id).terminate(cause="me too", force=True)
    assert again == done


@pytest.mark.feature("F33")
def test_a_lost_worker_is_the_systems_error(rows: Fleet) -> None:
    lost = rows.client.submit("shop.die", "kill", rows.path(), wait=True)
    assert (lost.status, lost.reason, lost.error.kind) == ("failed", "worker-lost", "system")
    assert "worker" in lost.error.message


@pytest.mark.feature("X08")
def test_an_argument_that_is_not_json_is_refused_before_anything_is_written(rows: Fleet) -> None:
    before = rows.client.executions.count()
    for call in (
        lambda value: rows.client.submit("shop.echo", [1, value]),
        lambda value: rows.client.map("shop.echo", [(1,), ([1, value],)]),
        lambda value: rows.shop.echo.delay([1, value]),
        # Where it runs in its caller, the function is not called either.
        lambda value: rows.shop.echo.apply(([1, value],)).get(),
    ):
        for value in (lambda: None, (n for n in ()), threading.Lock(), object()):
            with pytest.raises(NotSerializable, match=r"arguments\[0\]\[0\]\[1\] cannot be written as JSON"):
                call(value)
    assert rows.client.executions.count() == before
