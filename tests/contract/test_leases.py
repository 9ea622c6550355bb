"""Terms, the lead, and who is declared lost: what the registry and the chores promise, whatever a worker does."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import pytest

from executions.clock import SystemClock
from executions.policy import Policy
from executions.registry import keys
from executions.registry.leader import Leader
from executions.registry.workers import PROCESS_BYTES, parse_term, term_of
from executions.settings import Settings
from executions.slots import Slots
from executions.states import Reason, Status
from executions.upkeep import Report
from executions.upkeep.contact import Contact
from executions.upkeep.deadlines import OVERDUE, Deadlines
from executions.upkeep.rescuer import Rescuer, running
from tests.conftest import Eventually
from tests.contract.world import World
from workers.bootsteps.upkeep import UpkeepThread

RERUN = Policy(on_reset="rerun", max_attempts=50)


def new_term(worker: str) -> str:
    """Begin a term in a process of its own."""
    return term_of(worker, secrets.token_hex(PROCESS_BYTES), 1)


@dataclass
class InTouch(Contact):
    """In touch with the server, whose clock shows what the test says."""

    world: World
    ahead_s: float = 0.0

    def proof(self, now: float) -> int | None:
        seconds, micros = self.world.space.client.time()
        return round((seconds + self.ahead_s) * 1_000_000) + int(micros)


def beat(world: World, term: str, anew: bool = True) -> bool:
    return world.parts.workers.beat(term, {}, anew=anew).stands


def run_out(world: World, term: str) -> None:
    """Have a lease end, as if its worker had not beaten for long."""
    world.space.client.zadd(keys.workers(world.space.namespace), {term: 1.0})


def start(world: World, term: str, policy: Policy = RERUN, attempt: int = 1, one: str | None = None) -> str:
    one = one or world.submit()
    worker, incarnation = parse_term(term)
    world.transitions.start(
        one, attempt, worker=worker, pid=1, pool="prefork", policy=policy, claim=f"{incarnation}.{attempt}"
    )
    return one


def rescuer(world: World) -> Rescuer:
    return Rescuer(world.parts, InTouch(world))


def test_a_term_that_was_declared_over_never_comes_back(world: World) -> None:
    term = new_term("w@host")
    assert beat(world, term)
    run_out(world, term)
    # Late, but before anybody minded: it stands.
    assert beat(world, term, anew=False)
    run_out(world, term)
    assert world.parts.workers.condemn(InTouch(world).proof(0) or 0) == [term]
    assert not beat(world, term)
    assert rescuer(world).run_once(0).done == 0
    assert not beat(world, term, anew=False)
    assert world.parts.workers.terms() == set()


def test_a_server_that_lost_its_data_takes_a_worker_in_again(world: World) -> None:
    term = new_term("w@host")
    assert beat(world, term, anew=True)
    world.parts.workers.resign(term)
    assert beat(world, term, anew=True)


def test_who_has_not_heard_from_the_server_lately_condemns_nobody(world: World) -> None:
    # Given a leader whose command waited in a paused server, which then finds every lease run out
    term = new_term("w@host")
    beat(world, term)
    run_out(world, term)
    heard_us = (InTouch(world).proof(0) or 0) - round(world.settings.gap_s * 1_000_000) - 1_000_000
    assert world.parts.workers.condemn(heard_us) == []
    assert beat(world, term, anew=False)


def test_contact_counts_from_its_last_break() -> None:
    contact = Contact(Settings(beat_s=1, lease_s=6))
    for second in range(7):
        contact.heard(second, second * 1_000_000)
        assert (contact.proof(second) is None) == (second < 6)
    assert contact.proof(6.5) == 6_000_000
    # A gap, or an error, and a whole lease has to go by again.
    assert contact.proof(10) is None
    contact.heard(10, 0)
    assert contact.proof(10) is None
    for second in range(11, 17):
        contact.heard(second, 0)
    assert contact.proof(16) == 0
    contact.broken()
    assert contact.proof(16) is None


def test_a_rescue_takes_what_ran_under_that_term_and_nothing_else(world: World) -> None:
    old, new = new_term("w@host"), new_term("w@host")
    beat(world, old)
    beat(world, new)
    lost, failed, kept = start(world, old), start(world, old, Policy()), start(world, new)
    stopped = start(world, old)
    world.terminate(stopped)
    run_out(world, old)
    assert rescuer(world).run_once(0).done == 3
    assert world.state(lost) == ("pending", "rerun", 1)
    assert world.state(failed) == ("failed", "worker-lost", 1)
    assert world.state(stopped) == ("terminated", "requested", 1)
    assert world.state(kept) == ("running", "started", 1)
    # A second rescuer, still at it, does not touch the attempt that followed.
    start(world, new, attempt=2, one=lost)
    assert rescuer(world).run_once(0).done == 0
    assert world.state(lost) == ("running", "started", 2)
    world.check()


def test_what_ends_with_each_worker_is_given_up(world: World) -> None:
    one = world.submit()
    for attempt in (1, 2, 3):
        term = new_term(f"w{attempt}@host")
        beat(world, term)
        start(world, term, attempt=attempt, one=one)
        run_out(world, term)
        assert rescuer(world).run_once(0).done == 1
    picture = world.picture(one)
    assert (picture.status, picture.reason, picture.attempts) == (Status.FAILED, Reason.WORKER_LOST, 3)
    assert "3 attempts ended with a lost worker" in picture.message
    assert {attempt.error.kind for attempt in picture.attempts_log if attempt.error} == {"system"}
    # A retry for another reason is no such end, and a rerun begins to count anew.
    world.rerun(one)
    assert "lo" not in world.raw(one)
    world.check()


def test_what_nobody_owns_is_found_by_the_walk(world: World) -> None:
    gone, there = new_term("gone@host"), new_term("there@host")
    beat(world, there)
    orphan, kept, eager = start(world, gone), start(world, there), world.submit()
    world.transitions.start(eager, 1, worker="eager@host", pid=1, pool="eager", claim=".x")
    # Too young to judge: its worker may be about to beat.
    assert Deadlines(world.parts, InTouch(world)).run_once(0).done == 0
    later: Any = InTouch(world, ahead_s=world.settings.lease_s + 1)
    assert Deadlines(world.parts, later).run_once(0).done == 1
    assert world.state(orphan) == ("pending", "rerun", 1)
    assert world.state(kept) == world.state(eager) == ("running", "started", 1)


def test_what_its_worker_does_not_end_in_time_is_said_once(world: World) -> None:
    term = new_term("w@host")
    beat(world, term)
    limited, own = Policy(execution_timeout=60), world.submit(options={"execution_timeout": 100000})
    one = start(world, term, limited)
    start(world, term, limited, one=own)
    raw = world.raw(one)
    assert int(raw["dl"]) - int(raw["sd"]) == 60_000_000
    assert int(world.raw(own)["dl"]) - int(world.raw(own)["sd"]) == 100_000_000_000
    late = Deadlines(world.parts, InTouch(world, ahead_s=60 + world.settings.grace_s + 11))
    assert late.run_once(0).notes == ("1 over their time limit",)
    assert world.picture(one).message == OVERDUE
    assert late.run_once(0).notes == ()
    assert running(late._queries, one) is not None


def test_the_lead_is_given_back_by_its_holder_only(world: World) -> None:
    leader = Leader(world.space)
    assert leader.claim("a#1")
    assert not leader.claim("b#1")
    assert not leader.release("b#1")
    assert leader.release("a#1")
    assert leader.claim("b#1")


@dataclass
class Heard:
    """A chore that notes when it was run."""

    at: list[float]

    def run_once(self, now: float) -> Report:
        self.at.append(now)
        return Report()


@pytest.mark.parametrize("ahead_s", [40 * 86400, -40 * 86400])
def test_upkeep_goes_by_the_servers_clock_whatever_that_of_its_worker_says(
    world: World, eventually: Eventually, monkeypatch: pytest.MonkeyPatch, ahead_s: int
) -> None:
    seconds, _ = world.space.client.time()
    monkeypatch.setattr(SystemClock, "now", lambda self: seconds + ahead_s)
    heard = Heard([])
    thread = UpkeepThread("test", world.parts, lambda: [(heard, 0.1)], lambda: "a#1")
    thread.start()
    eventually(lambda: heard.at)
    thread.leave()
    assert seconds <= heard.at[0] < seconds + 60


def test_nothing_starts_before_the_first_beat_or_after_the_lease() -> None:
    slots = Slots(2)
    # Outside a worker there is no lease to mind.
    assert slots.may_start(1)
    slots.hold("00ab34cd56ef0001", 0)
    assert not slots.may_start(1)
    slots.hold("00ab34cd56ef0001", 100)
    assert slots.may_start(99)
    assert not slots.may_start(100)
    assert slots.incarnation == "00ab34cd56ef0001"
