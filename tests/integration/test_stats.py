"""Statistics over time: what they say is what a plain look at every record says, or close to it and said to be."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest

from executions import connect
from executions.errors import InvalidInput, InvalidQuery
from executions.execution import Execution
from executions.registry import sampling
from executions.stats import Period, Stats
from tests.integration.randomly import Registry, filled_registry
from tests.web import served


@pytest.fixture(scope="module", params=[1, 16], ids=["1 shard", "16 shards"])
def filled(request: pytest.FixtureRequest, server_url: str) -> Iterator[Registry]:
    """A registry of a few hundred executions that no test changes."""
    yield from filled_registry(server_url, request.param)


#: Queries with what they mean; of what words mean only the list can tell here, and that is tested where lists are.
QUERIES: dict[str, Callable[[Execution], bool] | None] = {
    "": lambda e: True,
    "status:failed": lambda e: e.status == "failed",
    "queue:gpu -status:success": lambda e: e.queue == "gpu" and e.status != "success",
    "function:tasks.train OR pipeline:mnist": lambda e: (
        e.function == "tasks.train" or (e.pipeline or "").startswith("mnist")
    ),
    "reason:timeout": lambda e: e.reason == "timeout",
    "column": None,
    "duration:>500us": None,
    "started:>2026-01-01 status:failed": lambda e: e.status == "failed" and e.started is not None,
    "queue:nowhere": lambda e: False,
}


def lengths(found: list[float]) -> tuple[float, ...] | None:
    """The percentiles by their definition: the smallest value that so many percent are not above."""
    found = sorted(found)
    return tuple(found[math.ceil(p * len(found) / 100) - 1] for p in (50, 95, 99)) if found else None


def plainly(items: list[Execution], since: datetime, until: datetime) -> dict[str, object]:
    """One period from nothing but the records."""

    def here(at: datetime | None) -> bool:
        return at is not None and since <= at < until

    ended = [e for e in items if here(e.finished)]
    began = [e for e in items if here(e.started)]
    fresh = [e for e in began if us(e.started, e.queued or e.created) >= 0]
    return {
        "created": sum(here(e.created) for e in items),
        "started": len(began),
        "finished": dict(Counter(str(e.status) for e in ended)),
        "duration": lengths([us(e.finished, e.started) for e in ended if e.started]),
        "queue": lengths([us(e.started, e.queued or e.created) for e in fresh]),
    }


def us(late: datetime | None, early: datetime | None) -> float:
    assert late is not None
    assert early is not None
    return (late - early) / timedelta(microseconds=1)


def said(period: Period) -> dict[str, object]:
    def whole(spread: object) -> tuple[float, ...] | None:
        return None if spread is None else tuple(round(getattr(spread, p) * 1e6) for p in ("p50", "p95", "p99"))

    return {
        "created": period.created,
        "started": period.started,
        "finished": dict(period.finished),
        "duration": whole(period.duration),
        "queue": whole(period.queue_time),
    }


def extent(everything: list[Execution]) -> tuple[datetime, datetime]:
    times = [at for e in everything for at in (e.created, e.started, e.finished) if at]
    return min(times), max(times)


@pytest.mark.parametrize("query", QUERIES)
def test_every_step_is_what_a_look_at_every_record_gives(filled: Registry, query: str) -> None:
    everything = filled.all()
    first, last = extent(everything)
    # Given a window that leaves out some at its beginning and at its end
    since, until = first + (last - first) / 10, last - (last - first) / 10
    step = (until - since) / 7
    found = filled.queries.stats(query, since, until, step)
    means = QUERIES[query]
    listed = {e.id for e in filled.queries.iterate(query)} if means is None else set[str]()
    chosen = [e for e in everything if (e.id in listed if means is None else means(e))]
    # I expect each step, the whole, and the word that nothing was left out
    assert found.complete
    for period in (*found.steps, found.total):
        assert said(period) == plainly(chosen, period.since, period.until)
    assert (found.total.since, found.total.until) == (since, until)
    assert [one.until for one in found.steps[:-1]] == [one.since for one in found.steps[1:]]


def test_without_room_the_sets_are_read_instead_of_the_bitmaps(
    filled: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given bounds that are too small for all records and for any bitmap
    monkeypatch.setattr(sampling, "_CHUNKS", 0)
    monkeypatch.setattr(sampling, "_LEAST_CHUNKS", 0)
    everything = filled.all()
    first, last = extent(everything)
    found = filled.queries.stats("status:failed", first, last + timedelta(microseconds=1))
    assert said(found.total) == plainly([e for e in everything if e.status == "failed"], first, found.total.until)


def test_beyond_the_bound_the_numbers_are_close_and_said_to_be_estimates(
    filled: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "_LEAST_OF_A_SHARD", 10)
    everything = filled.all()
    first, last = extent(everything)
    for query in ("", "-queue:gpu"):
        end, step = last + timedelta(microseconds=1), (last - first) / 4
        found: Stats = filled.queries.stats(query, first, end, step, sample=160)
        chosen = [e for e in everything if not query or e.queue != "gpu"]
        right = plainly(chosen, first, found.total.until)
        assert not found.complete
        assert found.scanned < 400
        for name in ("created", "started"):
            assert getattr(found.total, name) == pytest.approx(right[name], rel=0.25), (query, name)
        ended = sum(e.finished is not None for e in chosen)
        assert found.total.ended == pytest.approx(ended, rel=0.25)


def test_rates_and_throughput_are_of_what_ended(filled: Registry) -> None:
    everything = filled.all()
    first, last = extent(everything)
    total = filled.queries.stats("", first, first + timedelta(hours=1)).total
    ended = [e for e in everything if e.finished]
    assert last < first + timedelta(hours=1)
    assert total.ended == len(ended)
    assert total.success_rate == sum(e.is_successful for e in ended) / len(ended)
    assert total.failure_rate == sum(e.status == "failed" for e in ended) / len(ended)
    assert total.throughput == len(ended) / 3600


def test_nothing_gives_zeros_and_no_rates(server_url: str, namespace: str) -> None:
    with connect(server_url, namespace=namespace) as client:
        found = client.executions.stats()
        assert (found.complete, found.scanned, len(found.steps)) == (True, 0, 48)
        assert (found.total.created, found.total.ended, found.total.success_rate) == (0, 0, None)
        assert (found.total.duration, found.total.throughput) == (None, 0.0)


def test_a_day_ends_with_the_day_and_steps_need_not_fit(server_url: str, namespace: str) -> None:
    with connect(server_url, namespace=namespace) as client:
        found = client.executions.stats(since="2026-01-01", until="2026-01-02", step="7h")
    assert found.total.until == datetime.fromisoformat("2026-01-03T00:00Z")
    assert [(one.until - one.since) / timedelta(hours=1) for one in found.steps] == [7, 7, 7, 7, 7, 7, 6]


def test_what_cannot_be_asked_is_refused_with_a_reason(server_url: str, namespace: str) -> None:
    with connect(server_url, namespace=namespace) as client:
        for asked in (
            {"since": "now", "until": "-1h"}, {"since": "soon"}, {"until": ""}, {"step": "0s"}, {"step": "1s"},
            {"step": "often"}, {"step": -1}, {"since": "9999-12-31"},
        ):  # fmt: skip
            with pytest.raises(InvalidInput):
                client.executions.stats(**asked)
        with pytest.raises(InvalidQuery):
            client.executions.stats("stauts:failed")
        assert client.executions.stats(since="-999999w", until="2026").complete


def test_the_api_says_the_same(server_url: str, namespace: str, tmp_path: Path) -> None:
    with connect(server_url, namespace=namespace) as client, served(server_url, namespace, folder=tmp_path) as web:
        for _ in range(3):
            client.submit("shop.add", 1, 2, tags=["a"]).terminate()
        client.submit("shop.add", 1, 2)
        answer = httpx.get(f"{web.url}/api/v1/executions/stats", params={"q": "tag:a", "from": "-2h", "step": "1h"})
        found = answer.json()
        assert (answer.status_code, len(found["steps"]), found["complete"], found["scanned"]) == (200, 2, True, 3)
        total = found["total"]
        assert (total["created"], total["started"], total["finished"]) == (3, 0, {"terminated": 3})
        assert (total["success_rate"], total["failure_rate"], total["duration"]) == (0.0, 0.0, None)
        assert total["throughput"] == 3 / 7200
        for wrong, kind in (
            ({"q": "stauts:x"}, "invalid-query"), ({"step": "1s"}, "validation"), ({"from": "soon"}, "validation"),
            ({"from": "now", "to": "-1h"}, "validation"),
        ):  # fmt: skip
            refused = httpx.get(f"{web.url}/api/v1/executions/stats", params=wrong)
            assert (refused.status_code, refused.json()["type"].rpartition("/")[2]) == (422, kind)
