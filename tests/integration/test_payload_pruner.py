"""Files of the payload store go with the last execution that refers to them, and not a moment before."""

from __future__ import annotations

from pathlib import Path

import pytest

from executions import ids
from executions.clock import SYSTEM_CLOCK, ManualClock
from executions.errors import PayloadMissing
from executions.parts import Parts
from executions.payloads import DAY_S, Payloads
from executions.registry.transitions import Ending, Submission
from executions.settings import Settings
from executions.states import Status
from executions.upkeep import payload_pruner as module
from executions.upkeep.payload_pruner import MARGIN_S, ROUND_EVERY_S, PayloadPruner
from executions.upkeep.pruner import Pruner

RETENTION_S = 3600


class World:
    """A registry with its store, and a clock for the days of the files."""

    def __init__(self, url: str, namespace: str, where: str, shards: int = 1) -> None:
        self.parts = Parts(
            Settings(url=url, namespace=namespace, payloads=where, shards=shards, retention_s=RETENTION_S)
        )
        self.clock = ManualClock(SYSTEM_CLOCK.now())
        self.payloads = Payloads(where, lambda: self.parts.space.identity, self.clock)
        self.pruner = PayloadPruner(self.parts)
        self._made = 0

    def submit(self, *, pay: str | None = None) -> str:
        self._made += 1
        made = ids.new_id(self._made % 64)
        self.parts.transitions.submit(Submission(id=made, function="f", inputs="[[],{}]", payload=pay))
        return made

    def succeed(self, execution_id: str, output: str) -> None:
        started = self.parts.transitions.start(execution_id, None, worker="w", pid=1, pool="solo")
        ending = Ending(status=Status.SUCCESS, fields=("or", output))
        self.parts.transitions.finish(execution_id, started.attempt, ending)  # type: ignore[union-attr]

    def has(self, reference: str) -> bool:
        try:
            return bool(self.payloads.get(reference))
        except PayloadMissing:
            return False

    def run_round(self, now: float) -> int:
        """One whole round of the pruner, from its beginning to its end."""
        done = 0
        for _ in range(500):
            report = self.pruner.run_once(now)
            done += report.done
            if not report.left:
                return done
        raise AssertionError("the round has no end")

    @property
    def old(self) -> float:
        """A time at which what was put today is old enough to go."""
        return SYSTEM_CLOCK.now() + RETENTION_S + MARGIN_S + DAY_S + 60


@pytest.fixture(params=["folder", "fsspec"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"file://{tmp_path}/store" if request.param == "fsspec" else str(tmp_path / "store")


@pytest.fixture
def world(server_url: str, namespace: str, where: str) -> World:
    return World(server_url, namespace, where)


@pytest.mark.parametrize("shards", [1, 16])
def test_files_that_nothing_refers_to_go_and_all_others_stay(
    server_url: str, namespace: str, where: str, tmp_path: Path, shards: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given, over all shards, files that inputs refer to, files that outputs refer to, and files of nobody
    monkeypatch.setattr(module, "READ_AT_ONCE", 3)
    monkeypatch.setattr(module, "REMOVED_AT_ONCE", 4)
    world = World(server_url, namespace, where, shards)
    used = [world.payloads.put(f"input {at}") for at in range(20)]
    waiting = [world.submit(pay=reference) for reference in used]
    outputs = [world.payloads.put(f"output {at}") for at in range(20)]
    for execution_id, reference in zip(waiting[:10], outputs[:10], strict=True):
        world.succeed(execution_id, reference)
    # If nothing is old, nothing goes
    assert world.run_round(SYSTEM_CLOCK.now()) == 0
    # If all are old
    assert world.run_round(world.old) == 10
    # I expect that those of nobody are gone, and no other
    assert [world.has(reference) for reference in used] == [True] * 20
    assert [world.has(reference) for reference in outputs] == [True] * 10 + [False] * 10
    # If then the ended executions are forgotten
    while Pruner(world.parts).run_once(world.old).left:
        pass
    # I expect their files to go in the next round, and those that wait to keep theirs
    assert world.run_round(world.old + ROUND_EVERY_S) == 20
    assert [world.has(reference) for reference in used] == [False] * 10 + [True] * 10
    # and with the last file its folders
    for execution_id in waiting[10:]:
        world.succeed(execution_id, "@1.none")
    while Pruner(world.parts).run_once(world.old).left:
        pass
    assert world.run_round(world.old + 2 * ROUND_EVERY_S) == 10
    assert [path for path in tmp_path.rglob("*") if path.name != "store"] == [
        tmp_path / "store" / world.parts.space.identity
    ]


def test_a_file_that_two_share_stays_until_both_are_gone(world: World) -> None:
    # Given two executions of which one ended, with one input
    reference = world.payloads.put("shared")
    assert world.payloads.put("shared") == reference
    first, second = world.submit(pay=reference), world.submit(pay=reference)
    world.succeed(first, "@1.none")
    Pruner(world.parts).run_once(world.old)
    assert world.run_round(world.old) == 0
    assert world.has(reference)
    world.succeed(second, "@1.none")
    Pruner(world.parts).run_once(world.old)
    assert world.run_round(world.old + ROUND_EVERY_S) == 1
    assert not world.has(reference)


def test_what_is_written_again_later_is_another_file(world: World) -> None:
    # Given a file of long ago that nobody uses, and a caller who puts the same today while a round goes on
    long_ago = world.payloads.put("the same")
    assert world.pruner.run_once(world.old).left
    world.clock.at = world.old
    today = world.payloads.put("the same")
    world.submit(pay=today)
    while world.pruner.run_once(world.old).left:
        pass
    # I expect the old one to go, and the caller to keep theirs
    assert not world.has(long_ago)
    assert world.has(today)


def test_a_rerun_finds_its_input(world: World) -> None:
    reference = world.payloads.put("input")
    execution_id = world.submit(pay=reference)
    world.succeed(execution_id, world.payloads.put("output"))
    world.parts.transitions.rerun(execution_id, principal="ann")
    # The output of before the rerun is nobody's; the input is needed once more.
    assert world.run_round(world.old) == 1
    assert world.has(reference)


def test_registries_that_share_a_store_leave_each_other_alone(
    world: World, server_url: str, namespace: str, where: str
) -> None:
    # Given two registries in one store, the other with a file that this one knows nothing of
    other = World(server_url, f"{namespace}-other", where)
    theirs = other.payloads.put("the same")
    other.submit(pay=theirs)
    ours = world.payloads.put("the same")
    assert world.run_round(world.old) == 1
    assert other.has(theirs)
    assert not world.has(ours)


def test_a_leader_that_follows_reads_all_before_it_removes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a round whose leader is gone half-way
    monkeypatch.setattr(module, "READ_AT_ONCE", 2)
    used = [world.payloads.put(f"input {at}") for at in range(9)]
    for reference in used:
        world.submit(pay=reference)
    world.payloads.put("of nobody")
    for _ in range(3):
        assert world.pruner.run_once(world.old).done == 0
    # If another one follows
    world.pruner = PayloadPruner(world.parts)
    assert world.run_round(world.old) == 1
    assert all(world.has(reference) for reference in used)


def test_an_error_in_the_middle_begins_anew_and_removes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    used = [world.payloads.put(f"input {at}") for at in range(9)]
    for reference in used:
        world.submit(pay=reference)
    monkeypatch.setattr(module, "READ_AT_ONCE", 2)
    assert world.pruner.run_once(world.old).left
    # Given a store, or a registry, that does not answer for once
    with monkeypatch.context() as patch:
        patch.setattr(module, "READ_AT_ONCE", None)
        with pytest.raises(TypeError):
            world.pruner.run_once(world.old)
    assert world.pruner.run_once(world.old).left == 0
    assert world.run_round(world.old + ROUND_EVERY_S) == 0
    assert all(world.has(reference) for reference in used)


def test_references_without_a_day_are_read_and_stay(world: World, tmp_path: Path) -> None:
    # Given a file as versions before the days wrote it
    digest = world.payloads.put("of old").rpartition(".")[2]
    path = tmp_path / "store" / digest[:2] / digest
    path.parent.mkdir()
    path.write_text("of old")
    assert world.payloads.get(f"@{digest}") == "of old"
    assert world.run_round(world.old) == 1
    assert world.payloads.get(f"@{digest}") == "of old"
