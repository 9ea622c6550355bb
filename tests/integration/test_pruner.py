"""What is older than the retention is forgotten, with everything that points at it, however it was lost."""

from __future__ import annotations

import pytest

from executions.clock import SYSTEM_CLOCK
from executions.errors import NotFound
from executions.parts import Parts
from executions.registry import pruning
from executions.registry.connection import RedisClient, client_for
from executions.registry.transitions import Accepted, Ending, Started, Submission
from executions.settings import Settings
from executions.states import Reason, Status
from executions.upkeep import pruner as module
from executions.upkeep.pruner import Pruner
from tests.integration.randomly import Registry, make_registry

RETENTION_S = 3600


@pytest.fixture(params=[1, 16], ids=["1 shard", "16 shards"])
def registry(request: pytest.FixtureRequest, server_url: str, namespace: str) -> Registry:
    return make_registry(server_url, namespace, request.param)


@pytest.fixture
def pruner(registry: Registry) -> Pruner:
    known = registry.space.settings
    return Pruner(Parts(Settings(url=known.url, namespace=known.namespace, retention_s=RETENTION_S)))


def later() -> float:
    """A time at which all that has ended by now is older than the retention."""
    return SYSTEM_CLOCK.now() + RETENTION_S + 5


def run_to_the_end(pruner: Pruner, now: float, runs: int = 200) -> int:
    done = 0
    for _ in range(runs):
        report = pruner.run_once(now)
        done += report.done
        if not report.left:
            return done
    raise AssertionError(f"still {report.left} left after {runs} runs")


def look_at_every_number(pruner: Pruner, registry: Registry) -> None:
    """Run until the look through all numbers has gone around once."""
    for _ in range(registry.space.shards + 2):
        pruner.run_once(SYSTEM_CLOCK.now())
    run_to_the_end(pruner, SYSTEM_CLOCK.now())


def client_of(registry: Registry) -> RedisClient:
    return client_for(registry.space.url)


def names(registry: Registry) -> set[str]:
    """The names of all keys of the test, without those that stay for good."""
    found = client_of(registry).scan_iter(f"{registry.space.namespace}:*", count=1000)
    for_good = (":events", ":meta", ":schema")
    return {key.decode() for key in found if not key.decode().endswith(for_good)}


def end_all(registry: Registry) -> None:
    for execution_id in registry.ids:
        execution = registry.queries.get(execution_id)
        if execution.status is Status.RUNNING:
            ending = Ending(status=Status.FAILED, reason=Reason.ERROR)
            registry.transitions.finish(execution_id, execution.attempt, ending)
        elif execution.status is Status.PENDING:
            registry.transitions.settle(execution_id, Ending(status=Status.CACHED))


def delete_record(registry: Registry, execution_id: str) -> None:
    client_of(registry).delete(registry.space.keys(execution_id).record(execution_id))


def test_a_pruned_registry_is_as_empty_as_before(registry: Registry, pruner: Pruner) -> None:
    # Given executions that all ended, with attempts, logs and metrics
    for _ in range(150):
        execution_id = registry.add()
        keys = registry.space.keys(execution_id)
        client_of(registry).xadd(keys.metrics(execution_id), {"k": "loss", "v": "1", "s": "", "a": "1"})
        client_of(registry).xadd(keys.log(execution_id, 1), {"x": "1"})
    end_all(registry)
    # If the retention is over for all of them
    done = run_to_the_end(pruner, later())
    # I expect nothing but counters and events to be left
    assert done == 150
    assert names(registry) == set()
    assert registry.queries.count() == 0
    assert len(registry.queries.page()) == 0
    with pytest.raises(NotFound):
        registry.queries.get(registry.ids[0])
    # and the registry to go on as if nothing had been
    registry.ids.clear()
    for _ in range(20):
        registry.add()
    assert [execution.id for execution in registry.queries.iterate(sort="created")] == registry.ids


def test_only_what_ended_long_enough_ago_is_forgotten(registry: Registry, pruner: Pruner) -> None:
    for _ in range(60):
        registry.add()
    open_ones = [execution.id for execution in registry.all() if not execution.is_done]
    assert pruner.run_once(SYSTEM_CLOCK.now()).done == 0
    assert len(registry.queries.page(limit=500)) == 60
    run_to_the_end(pruner, later())
    assert [execution.id for execution in registry.queries.iterate(sort="created")] == open_ones
    assert registry.queries.count() == len(open_ones)
    by_status = registry.queries.facets(by="status")["status"]
    assert sum(by_status.values()) == len(open_ones)
    assert set(by_status) <= {"pending", "running"}


def test_one_that_was_rerun_meanwhile_stays(registry: Registry, pruner: Pruner) -> None:
    # Given one that the pruner has seen as old
    execution_id = registry.submit()
    registry.transitions.settle(execution_id, Ending(status=Status.CACHED))
    shards = registry.space.all_keys()
    keys = registry.space.keys(execution_id)
    before_us = round(SYSTEM_CLOCK.now() * 1_000_000)
    work = pruning.Pruning(registry.space)
    (old,) = [old for olds in work.old(shards, before_us, 10) for old in olds]
    # If it is rerun, and even ends, before its turn comes
    registry.transitions.rerun(execution_id, principal="ann")
    assert work.prune(keys, [old], before_us) == pruning.Pruned(0, 0)
    registry.transitions.settle(execution_id, Ending(status=Status.CACHED))
    # I expect that it stays
    assert work.prune(keys, [old], before_us) == pruning.Pruned(0, 0)
    assert registry.queries.get(execution_id).status is Status.CACHED


def test_what_lost_its_record_is_cleared_from_every_index(registry: Registry, pruner: Pruner) -> None:
    # Given records that the server has let expire before the pruner came
    for _ in range(120):
        registry.add()
    end_all(registry)
    for execution_id in registry.ids:
        delete_record(registry, execution_id)
    run_to_the_end(pruner, later())
    # I expect the tags, parents, names and all the rest to be gone as well
    leftovers = {name for name in names(registry) if ":log:" not in name and ":met:" not in name}
    assert {name.rsplit(":", 1)[1] for name in leftovers} <= {"outbox", "stops"}
    assert {field: dict(facet) for field, facet in registry.queries.facets().items()} == {
        "status": {},
        "function": {},
        "pipeline": {},
    }


def test_what_lost_its_record_without_an_end_is_found_too(registry: Registry, pruner: Pruner) -> None:
    # Given open and ended executions, some of which somebody deleted
    for _ in range(80):
        registry.add()
    gone = registry.ids[::3]
    for execution_id in gone:
        delete_record(registry, execution_id)
    left = [execution_id for execution_id in registry.ids if execution_id not in gone]
    # If the look through all numbers has gone around, and nothing is old
    look_at_every_number(pruner, registry)
    # I expect the others untouched, and counts, bitmaps and lists to agree again
    assert [execution.id for execution in registry.queries.iterate(sort="created")] == left
    registry.ids[:] = left
    everything = registry.all()
    assert registry.queries.count() == len(left)
    for status in Status:
        size = sum(execution.status == status for execution in everything)
        assert registry.queries.count(f"status:{status}") == size
        assert registry.queries.count(f"status:{status} -id:x") == size
    assert registry.queries.count("tag:nightly") == sum("nightly" in e.tags for e in everything)


def test_an_id_that_was_used_again_is_not_taken_for_the_old_one(registry: Registry, pruner: Pruner) -> None:
    # Given an id whose record was lost, and that was then submitted again
    submission = Submission(id="again", function="f", inputs="[[],{}]", name="again", tags=("t",))
    for _ in range(2):
        assert isinstance(registry.transitions.submit(submission), Accepted)
        started = registry.transitions.start("again", None, worker="w", pid=1, pool="solo")
        assert isinstance(started, Started)
        registry.transitions.finish("again", 1, Ending(status=Status.SUCCESS))
        first = registry.queries.get("again")
        if first.number < 2 * registry.space.shards:
            delete_record(registry, "again")
    assert len(registry.queries.page("tag:t")) == 1
    # If what is lost is cleared
    look_at_every_number(pruner, registry)
    # I expect the new one to be whole
    (found,) = registry.queries.page("tag:t name:again status:success", sort="-duration")
    assert found.number == registry.queries.get("again").number
    assert registry.queries.count("tag:t") == registry.queries.count() == 1


def test_a_run_is_bounded_and_says_what_is_left(
    registry: Registry, pruner: Pruner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PRUNED_AT_ONCE", 32)
    for _ in range(100):
        registry.submit()
    end_all(registry)
    report = pruner.run_once(later())
    assert 0 < report.done <= 32
    assert report.left == 100 - report.done
    # Running it twice does no harm
    assert run_to_the_end(pruner, later()) == 100 - report.done
    assert pruner.run_once(later()).done == 0


def test_marks_follow_what_exists(server_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given more than two thousand executions in one shard, with one in the middle still open
    registry = make_registry(server_url, namespace, 1)
    (keys,) = registry.space.all_keys()
    client = client_of(registry)
    pruner = Pruner(Parts(Settings(url=server_url, namespace=namespace, retention_s=RETENTION_S)))

    def submit(count: int) -> None:
        made = [Submission(id=f"m{len(registry.ids) + at}", function="f", inputs="[[],{}]") for at in range(count)]
        registry.transitions.submit_many(made)
        registry.ids += [submission.id for submission in made]

    submit(2100)
    middle = registry.ids[1300]
    created = registry.queries.get(middle).created
    assert created
    for execution_id in registry.ids:
        if execution_id != middle:
            registry.transitions.settle(execution_id, Ending(status=Status.CACHED))
    assert [int(mark) for mark in client.zrange(keys.marks, 0, -1)] == [1, 512, 1024, 1536, 2048]
    run_to_the_end(pruner, later())
    # I expect marks only from the middle one on, and ranges over its time of creation to be exact still
    assert [int(mark) for mark in client.zrange(keys.marks, 0, -1)] == [1024, 1536, 2048]
    assert [e.id for e in registry.queries.page(f"created:<={created.isoformat()}")] == [middle]
    assert registry.queries.count(f"created:>{created.isoformat()}") == 0
    # If that one goes as well, there are no marks; the next ones are found all the same
    registry.transitions.settle(middle, Ending(status=Status.CACHED))
    run_to_the_end(pruner, later())
    assert client.exists(keys.marks) == 0
    submit(700)
    newest = registry.queries.get(registry.ids[-1])
    assert newest.created
    assert registry.queries.count("function:f") == 700
    assert registry.queries.count(f"created:<{newest.created.isoformat()}") == 699
    assert [e.id for e in registry.queries.iterate("function:f", sort="created")] == registry.ids[2100:]


def test_pruning_while_executions_are_added_loses_none(registry: Registry, pruner: Pruner) -> None:
    for _ in range(6):
        for _ in range(20):
            registry.add()
        pruner.run_once(later())
        registry.ids[:] = [execution.id for execution in registry.queries.iterate(sort="created")]
    known = {execution.id for execution in registry.queries.iterate()}
    for execution_id in known:
        assert registry.queries.get(execution_id).id == execution_id
    assert registry.queries.count() == len(known) == sum(registry.queries.facets(by="status")["status"].values())
