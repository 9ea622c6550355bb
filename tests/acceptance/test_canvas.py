"""Chains, groups and chords run as Celery runs them, and the record shows who belongs to whom."""

from __future__ import annotations

from typing import Any

import celery
import pytest
from celery import chain, chord, group
from celery.canvas import StampingVisitor
from celery.exceptions import ChordError, TaskRevokedError
from celery.result import GroupResult

from tests.acceptance.fleet import Fleet, eventually, lines, words

HAPPY = ["pending/queued", "running/started", "success"]


def test_a_chain_knows_parent_root_and_children(prefork: Fleet) -> None:
    add = prefork.shop.add
    result = chain(add.s(1, 2), add.s(10), add.s(100)).apply_async()
    assert result.get(timeout=20) == 113
    third = prefork.done(result)
    second = prefork.done(result.parent)
    first = prefork.done(result.parent.parent)
    assert [one.output for one in (first, second, third)] == [3, 13, 113]
    assert (first.parent_id, second.parent_id, third.parent_id) == (None, first.id, second.id)
    assert {first.root_id, second.root_id, third.root_id} == {first.id}
    assert [child.id for child in result.parent.parent.children] == [second.id]
    assert words(third) == HAPPY
    assert third.inputs["args"] == [13, 100]


def test_collect_walks_the_children(prefork: Fleet) -> None:
    add = prefork.shop.add
    result = add.apply_async((1, 1), link=add.s(5))
    assert result.get(timeout=20) == 2
    assert [value for _, value in result.collect(timeout=20)] == [2, 7]


def test_a_chain_stops_at_the_step_that_fails(prefork: Fleet) -> None:
    shop = prefork.shop
    result = chain(shop.add.s(1, 2), shop.fail.si("broken"), shop.add.si(1, 1), shop.total.s()).apply_async()
    with pytest.raises(ValueError, match="broken"):
        result.get(timeout=20)
    last, before, broken = (prefork.done(one) for one in (result, result.parent, result.parent.parent))
    assert (broken.status, broken.reason) == ("failed", "error")
    for later, function in ((before, "shop.add"), (last, "shop.total")):
        assert (later.status, later.reason) == ("failed", "upstream")
        assert later.attempts == 0
        assert later.function == function
        assert later.root_id == broken.root_id
        assert broken.id in later.message
    assert result.state == "FAILURE"


def test_a_chain_whose_step_is_terminated_does_not_hang(prefork: Fleet) -> None:
    shop = prefork.shop
    result = chain(shop.checking.si(60), shop.add.si(1, 1)).apply_async()
    prefork.running(result.parent).terminate(cause="enough")
    assert prefork.done(result.parent).status == "terminated"
    later = prefork.done(result)
    assert (later.status, later.reason) == ("failed", "upstream")


def test_a_chain_whose_waiting_step_is_terminated_does_not_hang(prefork: Fleet) -> None:
    shop = prefork.shop
    result = chain(shop.add.si(1, 1).set(countdown=60), shop.add.si(1, 1)).apply_async()
    prefork.client.executions.get(result.parent.id).terminate()
    later = prefork.done(result)
    assert (later.status, later.reason) == ("failed", "upstream")


def test_a_group_gives_results_in_order(prefork: Fleet) -> None:
    result = group(prefork.shop.add.s(i, i) for i in range(10)).apply_async()
    assert result.get(timeout=20) == [i + i for i in range(10)]
    assert {prefork.done(one).status for one in result} == {"success"}
    assert result.successful()
    assert result.completed_count() == 10


@pytest.mark.skipif(celery.__version__ < "5.6", reason="stock Celery 5.4 and 5.5 never get a restored group's results")
def test_a_group_can_be_saved_and_restored(prefork: Fleet) -> None:
    result = group(prefork.shop.add.s(i, 1) for i in range(3)).apply_async()
    result.save()
    restored = GroupResult.restore(result.id, app=prefork.shop.app)
    assert restored.get(timeout=20) == [1, 2, 3]
    restored.forget()


def test_a_group_in_a_chain_becomes_a_chord(prefork: Fleet) -> None:
    add, total = prefork.shop.add, prefork.shop.total
    result = chain(add.s(1, 1), group(add.s(10), add.s(20)), total.s(), add.s(1000)).apply_async()
    assert result.get(timeout=20) == 1034
    assert words(prefork.done(result)) == HAPPY


def test_a_chord_collects_its_members(prefork: Fleet) -> None:
    add, total = prefork.shop.add, prefork.shop.total
    result = chord((add.s(i, i) for i in range(5)), total.s()).apply_async()
    assert result.get(timeout=20) == 20
    body = prefork.done(result)
    assert body.function == "shop.total"
    assert body.inputs["args"] == [[0, 2, 4, 6, 8]]


def test_nested_chords(prefork: Fleet) -> None:
    add, total = prefork.shop.add, prefork.shop.total
    inner = [chord([add.s(i, 1), add.s(i, 2)], total.s()) for i in range(3)]
    assert chord(inner, total.s()).apply_async().get(timeout=30) == sum(2 * i + 3 for i in range(3))


def test_a_chord_of_a_thousand(prefork: Fleet) -> None:
    add, total = prefork.shop.add, prefork.shop.total
    result = chord((add.s(i, 0) for i in range(1000)), total.s()).apply_async()
    assert result.get(timeout=60) == 499500
    assert prefork.done(result).status == "success"


def test_a_chord_with_a_failing_member_fails_its_body(prefork: Fleet) -> None:
    shop = prefork.shop
    result = chord([shop.add.s(1, 1), shop.fail.s("bad member")], shop.total.s()).apply_async()
    with pytest.raises((ChordError, ValueError), match="bad member"):
        result.get(timeout=20)
    body = prefork.done(result)
    assert (body.status, body.reason) == ("failed", "upstream")
    assert body.attempts == 0


@pytest.mark.parametrize("when", ["running", "waiting"])
def test_a_chord_with_a_terminated_member_never_hangs(prefork: Fleet, when: str) -> None:
    shop = prefork.shop
    member = shop.checking.s(60) if when == "running" else shop.add.s(1, 1).set(countdown=60)
    result = chord([shop.add.s(1, 1), member], shop.total.s().on_error(shop.on_error_id.s())).apply_async()
    victim = result.parent.results[1].id
    if when == "running":
        prefork.running(victim)
    prefork.client.executions.get(victim).terminate(cause="no longer needed")
    with pytest.raises((ChordError, TaskRevokedError)):
        result.get(timeout=20)
    body = prefork.done(result)
    assert (body.status, body.reason) == ("failed", "upstream")
    eventually((prefork.folder / f"errback-{result.id}").exists, "errback of the chord")


def test_map_starmap_and_chunks(prefork: Fleet) -> None:
    add, total = prefork.shop.add, prefork.shop.total
    assert total.map([[1, 2], [3, 4]]).apply_async().get(timeout=20) == [3, 7]
    assert add.starmap([(1, 2), (3, 4)]).apply_async().get(timeout=20) == [3, 7]
    assert add.chunks([(i, i) for i in range(4)], 2).apply_async().get(timeout=20) == [[0, 2], [4, 6]]


def test_replace_keeps_the_id_and_changes_function_and_inputs(prefork: Fleet) -> None:
    result = prefork.shop.replaced.delay(5)
    assert result.get(timeout=20) == 105
    done = prefork.done(result)
    assert done.function == "shop.add"
    assert done.inputs["args"] == [5, 100]
    assert words(done) == [
        "pending/queued", "running/started", "pending/queued", "running/started", "success",
    ]  # fmt: skip
    assert "replaced by shop.add" in done.status_log[2]["message"]
    assert [attempt.status for attempt in done.attempts_log][-1] == "success"
    assert done.attempts == 2


def test_replace_by_a_chord(prefork: Fleet) -> None:
    result = prefork.shop.replaced_by_chord.delay(4)
    assert result.get(timeout=20) == 10
    done = prefork.done(result)
    assert done.function == "shop.total"
    assert done.status == "success"


def test_replace_inside_a_chain_and_a_chord(prefork: Fleet) -> None:
    shop = prefork.shop
    assert chain(shop.replaced.s(1), shop.add.s(1000)).apply_async().get(timeout=20) == 1101
    assert chord([shop.replaced.s(1), shop.add.s(1, 1)], shop.total.s()).apply_async().get(timeout=20) == 103


def test_group_of_links(prefork: Fleet) -> None:
    shop, path = prefork.shop, prefork.path()
    result = shop.add.apply_async((1, 1), link=[shop.on_link.s(path), shop.on_link.s(path)])
    assert result.get(timeout=20) == 2
    eventually(lambda: lines(path) == 2, "both links")


class OnSunday(StampingVisitor):
    def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
        return {"day": "sunday", "stamped_headers": ["day"]}


def test_stamps_arrive(prefork: Fleet) -> None:
    signature = prefork.shop.whoami.s()
    signature.stamp(OnSunday())
    result = signature.apply_async()
    assert result.get(timeout=20)["stamps"] == {"day": ["sunday"]} or result.get()["stamps"] == {"day": "sunday"}
