"""Events of all executions: one for each entry of a status log, read on from a cursor, gaps said and not hidden."""

from __future__ import annotations

from typing import Any

import pytest

from executions.errors import InvalidQuery
from executions.registry.events import feed
from executions.registry.transitions import Opened
from tests.contract.world import FAILURE, SUCCESS, World


def read(world: World, query: str | None = None, since: str | None = None) -> list[dict[str, Any]]:
    return list(feed(world.space, query, follow=False, since=since))


def fail(world: World, service: str | None = None) -> str:
    one = world.submit(service=service)
    world.start(one)
    world.transitions.finish(one, 1, FAILURE)
    return one


def trim(world: World, one: str) -> None:
    """Lose all events of a shard, as time does."""
    world.space.client.xtrim(world.space.keys(one).events, maxlen=0, approximate=False)


@pytest.mark.feature("D56")
def test_each_entry_of_a_status_log_is_one_event(world: World) -> None:
    # Given a failure with its service, and what is said of it without a move
    one = world.submit(service="trainer")
    world.start(one)
    world.transitions.annotate(one, 1, fields=("pc", 40), tags=("gpu",))
    world.terminate(one, "wrong data")
    world.transitions.finish(one, 1, FAILURE)
    world.transitions.annotate(one, None, tags=("seen",))
    # I expect its events to be its status log
    picture, events = world.picture(one), read(world)
    for name in ("status", "reason", "message", "attempt"):
        assert [event[name] for event in events] == [entry[name] for entry in picture.status_log]
    assert {(event["id"], event["function"], event["service"]) for event in events} == {(one, "shop.add", "trainer")}
    assert [event["message"] for event in events] == ["", "", "wrong data", "ValueError: boom"]
    assert all(0 <= (e["timestamp"] - entry["timestamp"]).total_seconds() + 0.001 < 1
               for e, entry in zip(events, picture.status_log, strict=True))  # fmt: skip


@pytest.mark.feature("D56")
def test_a_failure_is_one_event_wherever_reading_stops(world: World) -> None:
    # Given failures, also a second one of the same execution, and other ends
    failed = [fail(world) for _ in range(7)]
    assert world.rerun(failed[0]) == Opened(2)
    world.start(failed[0], 2)
    world.transitions.finish(failed[0], 2, FAILURE)
    done = world.submit()
    world.start(done)
    world.transitions.finish(done, 1, SUCCESS)
    every = read(world, "status:failed")
    expected = sorted([(one, 1) for one in failed] + [(failed[0], 2)])
    assert sorted((event["id"], event["attempt"]) for event in every) == expected
    # If reading goes on from the cursor of any event
    for at, event in enumerate(every):
        # I expect what came after it, once
        assert read(world, "status:failed", since=event["cursor"]) == every[at + 1 :]
    # A feed knows where it is also where nothing matched.
    opened = feed(world.space, "status:terminated", follow=False, since=None)
    assert list(opened) == []
    assert read(world, since=opened.cursor) == []


def test_long_streams_are_read_in_order(world: World) -> None:
    many = [world.submission() for _ in range(1200)]
    world.transitions.submit_many(many)
    events = read(world)
    assert sorted(event["id"] for event in events) == sorted(one.id for one in many)
    assert [event["timestamp"] for event in events] == sorted(event["timestamp"] for event in events)


def test_from_now_on(world: World) -> None:
    fail(world)
    opened = feed(world.space, None, follow=False, since="now")
    one = world.submit()
    assert [event["id"] for event in opened] == [one]


@pytest.mark.feature("D56")
def test_events_that_are_gone_are_not_hidden(world: World) -> None:
    first = fail(world)
    [seen] = read(world, "status:failed")
    # If what came after is trimmed
    trim(world, first)
    [gap] = read(world, "status:failed", since=seen["cursor"])
    # I expect to be told so once, and from when on
    assert gap.keys() == seen.keys()
    assert (gap["id"], gap["status"], gap["reason"], gap["timestamp"]) == (None, None, "trimmed", seen["timestamp"])
    assert seen["timestamp"].isoformat() in gap["message"]
    world.terminate(world.submit(first + "-again"))
    assert [event["reason"] for event in read(world, since=gap["cursor"])] == ["queued", "cancelled"]
    # Where nothing is missing nothing is said.
    assert [event["reason"] for event in read(world, since=None)] == ["queued", "cancelled"]


@pytest.mark.parametrize(
    ("query", "since", "text"),
    [
        ("queue:gpu", None, "cannot be filtered by queue"),
        ("created:>2026-01-01", None, "cannot be filtered by created"),
        (None, "tomorrow", "not a cursor of events: 'tomorrow'"),
        (None, "1-1,2-2,3-3", "another registry"),
    ],
)
def test_what_cannot_be_used_is_refused_at_once(world: World, query: str | None, since: str | None, text: str) -> None:
    with pytest.raises(InvalidQuery, match=text):
        feed(world.space, query, follow=True, since=since)
