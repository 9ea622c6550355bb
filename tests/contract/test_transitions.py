"""Every verb from every state: the allowed ones move, all others change nothing and say what they found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from executions.ids import new_id
from executions.registry.edits import Edit
from executions.registry.transitions import (
    Accepted,
    Asked,
    Cancelled,
    Ended,
    Expired,
    Found,
    Missing,
    Opened,
    Owed,
    Started,
    StopFirst,
)
from executions.states import REASONS, TRANSITIONS, Reason, Status
from tests.contract.world import CACHED, FAILURE, REJECTED, STOPPED, SUCCESS, World

# How to bring an execution into each state -----------------------------------------------------------------


def missing(world: World) -> str:
    world.ids.append(new_id())
    return world.ids[-1]


def queued(world: World) -> str:
    return world.submit(tags=("gpu",), pipeline="mnist", stage="train", name="nightly")


def scheduled(world: World) -> str:
    return world.submit(reason=Reason.SCHEDULED, eta_us=4_000_000_000_000_000)


def waiting(world: World) -> str:
    one = world.submit(service="trainer")
    assert isinstance(world.transitions.park(one, message="full"), Opened)
    return one


def running(world: World) -> str:
    one = world.submit(parent_id="above", root_id="top")
    assert isinstance(world.start(one), Started)
    return one


def terminating(world: World) -> str:
    one = running(world)
    assert isinstance(world.terminate(one), Asked)
    return one


def retrying(world: World) -> str:
    one = running(world)
    assert world.transitions.retry(one, 1, message="again") == Opened(2)
    return one


def running_again(world: World) -> str:
    one = retrying(world)
    assert isinstance(world.start(one, 2, worker="w2@host"), Started)
    return one


def success(world: World) -> str:
    one = running(world)
    assert isinstance(world.transitions.finish(one, 1, SUCCESS), Ended)
    return one


def cached(world: World) -> str:
    one = running(world)
    assert isinstance(world.transitions.finish(one, 1, CACHED), Ended)
    return one


def failed(world: World) -> str:
    one = running_again(world)
    assert isinstance(world.transitions.finish(one, 2, FAILURE), Ended)
    return one


def rejected(world: World) -> str:
    one = queued(world)
    assert isinstance(world.transitions.settle(one, REJECTED), Ended)
    return one


def terminated(world: World) -> str:
    one = terminating(world)
    assert isinstance(world.transitions.finish(one, 1, STOPPED), Ended)
    return one


def cancelled(world: World) -> str:
    one = queued(world)
    assert isinstance(world.terminate(one), Cancelled)
    return one


def cancelled_while_retrying(world: World) -> str:
    one = retrying(world)
    assert isinstance(world.terminate(one), Cancelled)
    return one


def reopened(world: World) -> str:
    one = failed(world)
    assert world.rerun(one) == Opened(3)
    return one


STATES: dict[Callable[[World], str], str] = {
    missing: "missing",
    queued: "pending/queued",
    scheduled: "pending/scheduled",
    waiting: "pending/waiting",
    retrying: "pending/retrying",
    reopened: "pending/rerun",
    running: "running/started",
    running_again: "running/started",
    terminating: "running/terminating",
    success: "success/",
    cached: "cached/",
    failed: "failed/error",
    rejected: "failed/rejected",
    terminated: "terminated/requested",
    cancelled: "terminated/cancelled",
    cancelled_while_retrying: "terminated/cancelled",
}

# What each verb does ---------------------------------------------------------------------------------------

PENDING = {"pending/queued", "pending/scheduled", "pending/waiting", "pending/retrying", "pending/rerun"}
RUNNING = {"running/started", "running/terminating"}
DONE = {"success/", "cached/", "failed/error", "failed/rejected", "terminated/requested", "terminated/cancelled"}

#: A verb is called with the number of the current attempt, or of the next one where none runs.
Verb = Callable[[World, str, int], Any]


EDIT = Edit(add_tags=["seen"], drop_tags=["gpu", "nothing"], properties={"who": '"ann"'}, drop_properties=["nothing"])


def to(state: str, outcome: type, begins: set[str]) -> dict[str, tuple[str, type]]:
    return dict.fromkeys(begins, (state, outcome))


#: verb -> how it is called, and where it leads from where. What is not listed changes nothing.
VERBS: dict[str, tuple[Verb, dict[str, tuple[str, type]]]] = {
    "submit": (
        lambda w, one, k: w.transitions.submit(w.submission(one)),
        to("pending/queued", Accepted, {"missing"}),
    ),
    "start": (lambda w, one, k: w.start(one, k), to("running/started", Started, PENDING)),
    "start any": (lambda w, one, k: w.start(one, None), to("running/started", Started, PENDING)),
    "start too late": (lambda w, one, k: w.start(one, k - 1), {}),
    "start too early": (lambda w, one, k: w.start(one, k + 1), {}),
    "succeed": (lambda w, one, k: w.transitions.finish(one, k, SUCCESS), to("success/", Ended, RUNNING)),
    "fail": (lambda w, one, k: w.transitions.finish(one, k, FAILURE), to("failed/error", Ended, RUNNING)),
    "stop": (lambda w, one, k: w.transitions.finish(one, k, STOPPED), to("terminated/requested", Ended, RUNNING)),
    "finish too late": (lambda w, one, k: w.transitions.finish(one, k - 1, FAILURE), {}),
    "finish too early": (lambda w, one, k: w.transitions.finish(one, k + 1, SUCCESS), {}),
    "succeed by reuse": (lambda w, one, k: w.transitions.finish(one, k, CACHED), to("cached/", Ended, RUNNING)),
    "settle as rejected": (
        lambda w, one, k: w.transitions.settle(one, REJECTED),
        to("failed/rejected", Ended, PENDING),
    ),
    "retry": (
        lambda w, one, k: w.transitions.retry(one, k, message="again"),
        to("pending/retrying", Opened, {"running/started"})
        | to("running/terminating", StopFirst, {"running/terminating"}),
    ),
    "retry too late": (lambda w, one, k: w.transitions.retry(one, k - 1), {}),
    "terminate": (
        lambda w, one, k: w.terminate(one),
        to("terminated/cancelled", Cancelled, PENDING) | to("running/terminating", Asked, RUNNING),
    ),
    "rerun": (lambda w, one, k: w.rerun(one), to("pending/rerun", Opened, DONE)),
    "park": (lambda w, one, k: w.transitions.park(one, message="full"), to("pending/waiting", Opened, PENDING)),
    "park too late": (lambda w, one, k: w.transitions.park(one, attempt=k - 1), {}),
    "unpark": (lambda w, one, k: w.unpark(one), to("pending/queued", Opened, PENDING)),
    "due": (lambda w, one, k: w.due(one), to("pending/queued", Owed, {"pending/scheduled"})),
    "due too early": (lambda w, one, k: w.transitions.due([one])[0], {}),
    "supply": (
        lambda w, one, k: w.transitions.supply(one, coming=("in", "[[3],{}]"), function="shop.total"),
        to("pending/queued", Opened, {"pending/waiting"}),
    ),
    "annotate": (
        lambda w, one, k: w.transitions.annotate(one, k, fields=("pc", 40), tags=("nightly",)),
        {state: (state, type(None)) for state in RUNNING},
    ),
    "annotate too late": (lambda w, one, k: w.transitions.annotate(one, k - 1, fields=("pc", 40)), {}),
    "annotate from outside": (
        lambda w, one, k: w.transitions.annotate(one, None, tags=("seen",)),
        {state: (state, type(None)) for state in PENDING | RUNNING | DONE},
    ),
    "edit": (
        lambda w, one, k: w.parts.edits.edit(one, EDIT),
        {state: (state, type(None)) for state in PENDING | RUNNING | DONE},
    ),
    "note": (
        lambda w, one, k: w.parts.edits.note(one, "ann", "seen by me"),
        {state: (state, int) for state in PENDING | RUNNING | DONE},
    ),
}  # fmt: skip


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.feature("D14", "D50", "F08")
def test_a_verb_moves_or_changes_nothing(world: World, verb: str, state: Callable[[World], str]) -> None:
    # Given another execution, so that what is shared has something in it, and one in the state
    running(world)
    one = state(world)
    before, begin = world.state(one), STATES[state]
    assert before[0] == "missing" or f"{before[0]}/{before[1]}" == begin
    world.check()
    everything = world.snapshot()
    call, moves = VERBS[verb]

    # If the verb is called
    outcome = call(world, one, before[2] if before[0] == "running" else before[2] + 1)

    # I expect it to move as the table says
    if begin in moves:
        end, kind = moves[begin]
        assert isinstance(outcome, kind)
        now = world.state(one)
        assert f"{now[0]}/{now[1]}" == end
        world.check()
    # or to change nothing at all, and to say what it found
    else:
        assert outcome == (Missing() if begin == "missing" else Found(Status(before[0]), Reason(before[1]), before[2]))
        assert world.snapshot() == everything


def test_the_moves_here_are_those_of_the_picture() -> None:
    words = {"succeed by reuse": "succeed", "settle as rejected": "fail", "start any": "start"}
    made = {
        (words.get(verb, verb), None if begin == "missing" else Status(begin.split("/")[0]), Status(end.split("/")[0]))
        for verb, (_, moves) in VERBS.items()
        for begin, (end, kind) in moves.items()
        if kind not in (StopFirst, type(None), int)
    }
    # Expiry has its own tests: it depends on the time.
    assert made == {move for move in TRANSITIONS if move[0] != "expire"}


def test_the_states_here_are_all_that_there_are() -> None:
    seen = {tuple(state.split("/")) for state in STATES.values() if state != "missing"}
    assert {status for status, _ in seen} == set(Status)
    assert {reason for status, reason in seen if status in ("pending", "running")} == {
        reason.value for status in (Status.PENDING, Status.RUNNING) for reason in REASONS[status]
    }


# Single behaviours -----------------------------------------------------------------------------------------


def test_an_execution_that_waited_too_long_is_closed_at_its_start(world: World) -> None:
    one = world.submit(expires_us=1)
    assert isinstance(world.start(one), Expired)
    assert world.state(one) == ("terminated", "expired", 0)
    world.check()
    assert world.start(one) == Found(Status.TERMINATED, Reason.EXPIRED, 0)
    assert isinstance(world.rerun(one), Opened)
    world.check()


def test_asking_twice_keeps_one_entry_and_the_newest_request(world: World) -> None:
    one = running(world)
    world.terminate(one, "wrong data")
    assert isinstance(world.terminate(one, "still wrong"), Asked)
    assert world.entries(one) == ["pending/queued", "running/started", "running/terminating"]
    assert "still wrong" in world.raw(one)["tt"]
    world.check()


def test_who_asked_and_why_is_in_the_status_log(world: World) -> None:
    one = terminated(world)
    *_, asked, ended = world.picture(one).status_log
    assert (asked["principal"], asked["message"]) == ("bob@desk", "wrong data")
    assert (ended["principal"], ended["message"], ended["attempt"]) == ("bob@desk", "wrong data", 1)


def test_attempts_are_put_aside_and_never_written_over(world: World) -> None:
    one = failed(world)
    first = world.raw(one)["a1"]
    world.rerun(one)
    second = world.raw(one)["a2"]
    world.start(one, 3)
    world.transitions.finish(one, 3, SUCCESS)
    raw = world.raw(one)
    assert (raw["a1"], raw["a2"]) == (first, second)
    assert [attempt.status for attempt in world.picture(one).attempts_log] == ["failed", "failed", "success"]
    assert [attempt.worker for attempt in world.picture(one).attempts_log] == ["w1@host", "w2@host", "w1@host"]


def test_a_status_log_is_capped_and_keeps_its_beginning(world: World) -> None:
    one = queued(world)
    for _ in range(600):
        world.transitions.park(one)
        world.unpark(one)
    raw = world.raw(one)
    numbers = sorted(int(key) for key in raw if key.isdigit())
    assert len(numbers) == 500
    assert numbers[:20] == list(range(1, 21))
    assert numbers[-1] == int(raw["ls"]) == 1201


def test_numbers_of_a_shard_have_no_gaps(world: World) -> None:
    for _ in range(40):
        world.submit()
        world.submit(world.ids[-1])
    by_shard: dict[int, list[int]] = {}
    for one in world.ids:
        by_shard.setdefault(world.space.shard(one), []).append(int(world.raw(one)["no"]))
    assert all(found == list(range(1, len(found) + 1)) for found in by_shard.values())
