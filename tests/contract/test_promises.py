"""What holds whatever happens in which order: random events, races, and processes that die half-way."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from executions.clock import SYSTEM_CLOCK
from executions.logs import Line
from executions.registry.edits import Edit
from executions.registry.keys import code
from executions.registry.transitions import Asked, Cancelled, Ended, Ending, Found, Opened, Started, StopFirst
from executions.states import TERMINAL, Reason, Status
from executions.upkeep.publisher import Publisher
from tests.contract.world import CACHED, FAILURE, REJECTED, STOPPED, SUCCESS, World

# Random events (F08) ---------------------------------------------------------------------------------------

Event = Callable[[World, str, int], Any]

EVENTS: dict[str, Event] = {
    "submit": lambda w, one, k: w.transitions.submit(w.submission(one)),
    "start": lambda w, one, k: w.start(one, k),
    "succeed": lambda w, one, k: w.transitions.finish(one, k, SUCCESS),
    "fail": lambda w, one, k: w.transitions.finish(one, k, FAILURE),
    "stop": lambda w, one, k: w.transitions.finish(one, k, STOPPED),
    "reject": lambda w, one, k: w.transitions.settle(one, REJECTED),
    "reuse": lambda w, one, k: w.transitions.finish(one, k, CACHED),
    "retry": lambda w, one, k: w.transitions.retry(one, k, ended=("er", '{"exc_type":"ValueError"}')),
    "terminate": lambda w, one, k: w.terminate(one),
    "rerun": lambda w, one, k: w.rerun(one),
    "park": lambda w, one, k: w.transitions.park(one, message="full"),
    "unpark": lambda w, one, k: w.unpark(one),
    "annotate": lambda w, one, k: w.transitions.annotate(one, k, fields=("pc", 5), tags=("a", "b")),
    "edit": lambda w, one, k: w.parts.edits.edit(one, Edit(add_tags=["b", "c"], drop_tags=["a"])),
    "note": lambda w, one, k: w.parts.edits.note(one, "ann", "seen"),
}

#: Ends come more seldom than they would by chance, so that executions live through something.
WEIGHTS = [4, 8, 3, 3, 3, 1, 1, 6, 2, 3, 2, 3, 2, 2, 1]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.feature("F08")
def test_no_order_of_events_breaks_the_registry(world: World, seed: int) -> None:
    chance = random.Random(seed)
    known = [world.submit() for _ in range(12)]
    for step in range(600):
        one, name = chance.choice(known), chance.choices(list(EVENTS), WEIGHTS)[0]
        before, log = world.state(one), world.entries(one)
        # Mostly the attempt that is current, at times one that is not.
        attempt = before[2] + chance.choice([0, 0, 0, 1, 1, -1, 2])

        EVENTS[name](world, one, attempt)
        after = world.state(one)
        assert before[0] not in TERMINAL or after[0] == before[0] or name == "rerun", "an end was left"
        assert after[2] >= before[2]
        assert world.entries(one)[: len(log)] == log, "an entry of the status log was changed"

        # What arrives twice happens once.
        told = world.entries(one)
        EVENTS[name](world, one, attempt)
        assert world.entries(one) == told, f"{name} twice left two entries"
        if step % 60 == 0:
            world.check()
    world.check()
    assert strays(world) == set()


def strays(world: World) -> set[str]:
    """Give the keys of the registry that nobody accounts for."""
    names = {name.decode() for name in world.space.client.scan_iter(match=f"{world.space.namespace}:*", count=1000)}
    own = world.parts.checkouts.own()
    told = {code(world.space.namespace, own.id)} if own else set()
    return names - set(world.names()) - told - {f"{world.space.namespace}:{{0}}:schema"}


# Races -----------------------------------------------------------------------------------------------------


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Make all calls at the same moment, each in a thread."""
    gate = threading.Barrier(len(calls))

    def enter(call: Callable[[], Any]) -> Any:
        gate.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(enter, call) for call in calls]]


def side_by_side(world: World, count: int, *verbs: Callable[[str], Any]) -> list[tuple[str, list[Any]]]:
    """Let one thread for each verb go through the same executions; give the outcomes of each."""
    many = [world.submission() for _ in range(count)]
    world.transitions.submit_many(many)

    def each(verb: Callable[[str], Any]) -> list[Any]:
        return [verb(one.id) for one in many]

    replies = at_once(*(partial(each, verb) for verb in verbs))
    return [(one.id, list(found)) for one, found in zip(many, zip(*replies, strict=True), strict=True)]


@pytest.mark.feature("X05")
def test_of_20_starts_of_one_attempt_one_wins(world: World) -> None:
    for _ in range(25):
        one = world.submit()
        outcomes = at_once(*(partial(world.start, one, 1, f"w{n}@host") for n in range(20)))
        won = [outcome for outcome in outcomes if isinstance(outcome, Started)]
        lost = [outcome for outcome in outcomes if outcome == Found(Status.RUNNING, Reason.STARTED, 1)]
        assert (len(won), len(lost)) == (1, 19)
        assert world.entries(one) == ["pending/queued", "running/started"]
    world.check()


@pytest.mark.feature("D13")
def test_cancelled_or_started_never_both(world: World) -> None:
    for one, (stopped, started) in side_by_side(world, 1500, world.terminate, world.start):
        if isinstance(stopped, Cancelled):
            assert started == Found(Status.TERMINATED, Reason.CANCELLED, 0)
            assert world.state(one) == ("terminated", "cancelled", 0)
        else:
            assert isinstance(stopped, Asked)
            assert isinstance(started, Started)
            assert world.state(one) == ("running", "terminating", 1)
    world.check()


@pytest.mark.feature("D14")
def test_an_end_is_written_once(world: World) -> None:
    def end(ending: Any) -> Callable[[str], Any]:
        return lambda one: world.transitions.finish(one, 1, ending)

    outcomes = side_by_side(world, 1000, world.start, end(SUCCESS), end(FAILURE), world.terminate)
    for one, (_, succeeded, failed, _) in outcomes:
        ends = [entry for entry in world.entries(one) if entry.split("/")[0] in TERMINAL]
        assert len(ends) <= 1
        assert isinstance(succeeded, Ended) + isinstance(failed, Ended) <= 1
    world.check()
    assert Counter(world.state(one)[0] for one, _ in outcomes).total() == 1000


@pytest.mark.feature("D07")
def test_a_stop_is_not_lost_to_a_retry(world: World) -> None:
    """Whichever comes first: there is no next attempt of what somebody asked to stop."""
    many = [world.submission() for _ in range(1000)]
    world.transitions.submit_many(many)
    for one in many:
        world.start(one.id)
    stops, retries = at_once(
        lambda: [world.terminate(one.id) for one in many],
        lambda: [world.transitions.retry(one.id, 1) for one in many],
    )
    for one, stop, retry in zip(many, stops, retries, strict=True):
        if isinstance(stop, Asked):
            assert isinstance(retry, StopFirst)
            assert world.state(one.id) == ("running", "terminating", 1)
        else:
            assert (stop, retry) == (Cancelled(), Opened(2))
            assert world.state(one.id) == ("terminated", "cancelled", 1)
    world.check()


def test_a_name_that_is_submitted_by_many_is_one_execution(world: World) -> None:
    for n in range(25):
        submission = world.submission(f"nightly-{n}", name=f"nightly-{n}")
        outcomes = at_once(*[partial(world.transitions.submit, submission)] * 10)
        assert sum(not isinstance(outcome, Found) for outcome in outcomes) == 1
    world.check()


# Life after the end ----------------------------------------------------------------------------------------


def test_every_key_of_an_ended_execution_ends_too(world: World) -> None:
    # Given three attempts that wrote lines and metrics
    one = world.submit()
    for attempt in (1, 2, 3):
        world.start(one, attempt)
        world.parts.logs.append(one, attempt, [[Line(1, 20, "stdout", 1, "hello")]])
        world.transitions.report(one, attempt, fields=("pc", 50), points=[("loss", 0.5, 1)])
        if attempt < 3:
            world.transitions.retry(one, attempt)
    # If it ends
    world.transitions.finish(one, 3, SUCCESS)
    # I expect each of its keys to have a time to live, and none but its keys
    client = world.space.client
    its = [name for name in world.names() if one in name and client.exists(name)]
    assert len(its) == 5
    assert [name for name in its if client.ttl(name) <= 0] == []
    # A rerun keeps the record for as long as it is open.
    world.rerun(one)
    assert client.ttl(world.space.keys(one).record(one)) == -1


# A process that dies between two steps ---------------------------------------------------------------------


def only_submitted(world: World) -> str:
    return world.submit()


def only_submitted_in_bulk(world: World) -> str:
    world.transitions.submit_many([world.submission()])
    return world.ids[-1]


def only_retried(world: World) -> str:
    one = world.submit()
    world.start(one)
    world.transitions.retry(one, 1)
    return one


def only_rerun(world: World) -> str:
    one = world.submit()
    world.terminate(one)
    world.rerun(one)
    return one


def only_unparked(world: World) -> str:
    one = world.submit()
    world.transitions.park(one)
    world.unpark(one)
    return one


def only_supplied(world: World) -> str:
    one = world.submit()
    world.transitions.park(one)
    world.transitions.supply(one, coming=(), function="shop.total")
    return one


def scheduled_for_a_time_that_is_over(world: World) -> str:
    return world.submit(reason=Reason.SCHEDULED, eta_us=1)


BROKEN_OFF = [
    only_submitted, only_submitted_in_bulk, only_retried, only_rerun, only_unparked, only_supplied,
    scheduled_for_a_time_that_is_over,
]  # fmt: skip


@pytest.mark.parametrize("begin", BROKEN_OFF, ids=lambda begin: begin.__name__)
@pytest.mark.feature("X05")
def test_whoever_dies_before_the_message_strands_nothing(world: World, begin: Callable[[World], str]) -> None:
    # Given a process that died after its step in the registry, before the message
    one = begin(world)
    dispatcher, publisher = world.parts.dispatcher, Publisher(world.parts, after_s=0)
    assert dispatcher.depth(world.queue) == 0

    # If upkeep comes by, twice
    reports = [publisher.run_once(SYSTEM_CLOCK.now()) for _ in range(2)]

    # I expect one message, for the attempt that is waited for, and nothing left once it has started
    assert [report.done for report in reports] == [1, 0]
    assert dispatcher.depth(world.queue) == 1
    attempt = world.state(one)[2] + 1
    assert isinstance(world.start(one, attempt), Started)
    world.check()
    empty(world)
    assert publisher.run_once(SYSTEM_CLOCK.now()).done == 0


def empty(world: World) -> None:
    """Take the messages off the queue, as a broker does that loses them."""
    with world.parts.dispatcher.app.connection_for_write() as connection:
        connection.default_channel.queue_purge(world.queue)


def test_a_message_that_the_broker_lost_is_sent_again(world: World) -> None:
    one = world.submit()
    dispatcher, publisher = world.parts.dispatcher, Publisher(world.parts, after_s=0)
    dispatcher.republish(world.space, one)
    empty(world)
    assert publisher.run_once(SYSTEM_CLOCK.now()).done == 1
    assert dispatcher.depth(world.queue) == 1
    # Sent once too often, it is refused at its second start.
    assert isinstance(world.start(one, 1), Started)
    assert world.start(one, 1) == Found(Status.RUNNING, Reason.STARTED, 1)
    empty(world)


def test_what_has_ended_or_waits_for_room_is_not_sent_again(world: World) -> None:
    world.terminate(world.submit())
    world.transitions.park(world.submit())
    running = world.submit()
    world.start(running)
    assert Publisher(world.parts, after_s=0).run_once(SYSTEM_CLOCK.now()).done == 0
    assert world.parts.dispatcher.depth(world.queue) == 0


@pytest.mark.parametrize("success", [SUCCESS, CACHED], ids=["computed", "reused"])
@pytest.mark.feature("X05")
def test_a_reply_that_got_lost_can_be_asked_for_again(world: World, success: Ending) -> None:
    # Given an attempt that was taken, and whose taker did not hear so
    one = world.submit()
    start = partial(world.transitions.start, one, 1, worker="w", pid=1, pool="prefork")
    first = start(claim="a")
    # I expect the same claim to get it again, and no other
    assert start(claim="a") == first
    assert isinstance(start(claim="b"), Found)
    assert isinstance(start(claim=""), Found)
    # and the same of its success
    ended = world.transitions.finish(one, 1, success)
    before = world.snapshot()
    assert world.transitions.finish(one, 1, success) == ended
    assert isinstance(world.transitions.finish(one, 1, FAILURE), Found)
    assert world.snapshot() == before
