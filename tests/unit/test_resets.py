"""What runs under an old version of its service: when it is ended, and what a termination makes of that."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from executions.registry.workers import StopCommand
from executions.service import ServiceSettings, ServiceState
from executions.settings import Settings
from executions.slots import KIND, STOP, WIDTH, Seen, Slots, Stop, service_token, token_of
from workers.bootsteps.resets import Resets
from workers.bootsteps.stops import RESET_KILL_S, Stopper


@dataclass
class Pool:
    """A pool with children; remembers what was done to them."""

    has_children: bool = True
    done: list[str] = field(default_factory=list)

    def wake(self, seen: Seen) -> None:
        self.done.append("wake")

    def interrupt(self, seen: Seen, kind: Stop, again: bool) -> bool:
        self.done.append(f"interrupt {kind.name}")
        return True

    def kill(self, seen: Seen) -> bool:
        self.done.append("kill")
        return True


class Registry:
    """Stands in for the services of a registry."""

    def __init__(self) -> None:
        self.now = ServiceState(name="trainer", id="x", version=1, settings=ServiceSettings(drain_time=60))

    def state(self, name: str) -> ServiceState | None:
        return self.now if name == self.now.name else None

    def put(self, version: int, forced: int = 0, **settings: Any) -> None:
        self.now = ServiceState(
            name="trainer", id="x", version=version, settings=ServiceSettings(**settings), forced=forced
        )


class Task:
    """A task of the service."""

    service = "trainer"


class App:
    """An app with that task."""

    tasks = {"trainer.train": Task(), "plain": object()}


class Site:
    """What the watcher asks of a site."""

    def __init__(self) -> None:
        self.services = Registry()
        self.app = App()


class World:
    """One worker with one execution of version 1."""

    def __init__(self) -> None:
        self.slots, self.pool, self.site = Slots(4), Pool(), Site()
        self.stopper = Stopper(self.slots, self.pool, Settings(), on_kill=lambda *_: None, on_stuck=lambda *_: None)
        self.resets = Resets(self.site, self.slots, self.stopper)  # type: ignore[arg-type]
        self.token = token_of("one", 1)
        self.slots.occupy(2, self.token, pid=1, thread=1)
        self.slots.belong(2, service_token("trainer"), 1)

    def at(self, now: float) -> Stop:
        """Let a moment come; give what the execution has been asked."""
        self.resets.look(now)
        self.stopper.tick(now)
        cells = self.slots.cells
        return Stop(cells[2 * WIDTH + KIND]) if cells[2 * WIDTH + STOP] == self.token else Stop.NONE


@pytest.fixture
def world() -> World:
    """A worker."""
    return World()


def test_nothing_is_ended_while_its_version_is_in_force(world: World) -> None:
    assert world.at(0) is Stop.NONE
    assert world.at(1_000_000) is Stop.NONE


@pytest.mark.feature("D39")
@pytest.mark.parametrize(("drain_time", "timeout", "after"), [(60, 3600, 60), (600, 30, 30)])
def test_an_old_version_ends_after_the_lesser_of_both_times(
    world: World, drain_time: int, timeout: int, after: int
) -> None:
    world.site.services.put(2, drain_time=drain_time, execution_timeout=timeout)
    assert world.at(100) is Stop.NONE
    assert world.at(100 + after - 1) is Stop.NONE
    assert world.at(100 + after) is Stop.RESET


def test_a_second_update_does_not_give_it_more_time(world: World) -> None:
    world.site.services.put(2, drain_time=60)
    assert world.at(0) is Stop.NONE
    world.site.services.put(3, drain_time=600)
    assert world.at(61) is Stop.RESET


@pytest.mark.feature("D40")
def test_force_ends_it_at_once_and_kills_it_within_two_seconds(world: World) -> None:
    world.site.services.put(2, forced=2)
    assert world.at(10) is Stop.RESET
    world.at(10.5)
    world.at(10 + RESET_KILL_S)
    assert world.pool.done == ["interrupt RESET", "kill"]
    assert RESET_KILL_S < 2


def test_force_hurries_what_an_update_without_it_lets_run(world: World) -> None:
    world.site.services.put(2, drain_time=600)
    assert world.at(0) is Stop.NONE
    world.site.services.put(3, forced=3)
    assert world.at(1) is Stop.RESET


def test_what_started_under_the_forced_version_runs_on(world: World) -> None:
    world.slots.belong(2, service_token("trainer"), 2)
    world.site.services.put(3, forced=2, drain_time=600)
    assert world.at(0) is Stop.NONE


def test_a_termination_takes_the_place_of_a_reset(world: World) -> None:
    world.site.services.put(2, forced=2)
    assert world.at(0) is Stop.RESET
    world.stopper.ask(StopCommand("one", 1, "checkpoint", None), 0.1)
    assert world.at(0.2) is Stop.TERMINATE


def test_a_reset_leaves_a_termination_alone(world: World) -> None:
    world.stopper.ask(StopCommand("one", 1, "checkpoint", None), 0)
    world.site.services.put(2, forced=2)
    assert world.at(0.1) is Stop.TERMINATE


def test_a_slot_that_was_left_belongs_to_no_service(world: World) -> None:
    world.slots.occupy(2, token_of("two", 1), pid=1, thread=1)
    world.token = token_of("two", 1)
    world.site.services.put(2, forced=2)
    assert world.at(0) is Stop.NONE
