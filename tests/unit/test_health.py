"""What is well, what is worth a word and what fails."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from executions.client import health
from executions.client.health import State
from executions.registry.health import Leftovers, ServerHealth
from executions.registry.records import FORMAT
from executions.registry.workers import WorkerInfo
from executions.version import VERSION

WELL = ServerHealth(
    kind="valkey",
    version="9.1.2",
    eviction="noeviction",
    append_only=True,
    disk_error=None,
    used_bytes=10 << 20,
    limit_bytes=0,
    clock_ahead_s=0.001,
    round_trip_s=0.002,
    format=FORMAT,
    shards=1,
)

JUDGES = {
    "server": lambda server: health._server(server, "redis://h/0"),
    "eviction": health._eviction,
    "persistence": health._persistence,
    "memory": health._memory,
    "clock": health._clock,
    "schema": health._schema,
}


@pytest.mark.parametrize("name", JUDGES)
def test_a_server_that_is_well(name: str) -> None:
    check = JUDGES[name](WELL)
    assert (check.name, check.state, check.advice) == (name, State.OK, "")


@pytest.mark.parametrize(
    ("name", "state", "facts"),
    [
        ("server", State.FAIL, {"version": "6.0.16"}),
        ("server", State.OK, {"version": "6.2.0"}),
        ("server", State.OK, {"version": "10.0.0"}),
        ("eviction", State.FAIL, {"eviction": "allkeys-lru", "limit_bytes": 1 << 30}),
        ("eviction", State.WARN, {"eviction": "allkeys-lru"}),
        ("eviction", State.WARN, {"eviction": ""}),
        ("persistence", State.WARN, {"append_only": False}),
        ("persistence", State.FAIL, {"disk_error": "the last write of the append-only file failed"}),
        ("memory", State.OK, {"limit_bytes": 100 << 20}),
        ("memory", State.WARN, {"limit_bytes": 12 << 20}),
        ("memory", State.FAIL, {"limit_bytes": 10 << 20}),
        ("clock", State.WARN, {"clock_ahead_s": -2.0}),
        ("clock", State.FAIL, {"clock_ahead_s": 60.0}),
        ("clock", State.OK, {"clock_ahead_s": 2.0, "round_trip_s": 3.0}),
        ("schema", State.OK, {"format": None, "shards": None}),
        ("schema", State.FAIL, {"format": FORMAT + 1}),
    ],
)
def test_a_server_that_is_not(name: str, state: State, facts: dict[str, Any]) -> None:
    check = JUDGES[name](replace(WELL, **facts))
    assert check.state is state
    assert bool(check.advice) == (state is not State.OK)


def test_the_password_is_not_told() -> None:
    assert "sesame" not in health._server(WELL, "redis://ada:sesame@h/0").found


def worker(name: str, alive: bool = True, **facts: Any) -> WorkerInfo:
    """Make a worker."""
    return WorkerInfo(name, f"{name}#1", alive, None, {"concurrency": 2, "version": VERSION, **facts})


@pytest.mark.parametrize(
    ("workers", "states"),
    [
        ([], {"workers": "warn"}),
        ([worker("a"), worker("b")], {"workers": "ok"}),
        ([worker("a"), worker("b", version="0.0.1")], {"workers": "warn"}),
        ([worker("a", version=None)], {"workers": "warn"}),
        ([worker("a"), worker("b", alive=False)], {"workers": "ok", "lost workers": "warn"}),
        ([worker("b", alive=False)], {"workers": "warn", "lost workers": "warn"}),
    ],
)
def test_workers(workers: list[WorkerInfo], states: dict[str, str]) -> None:
    assert {check.name: check.state for check in health._workers(workers)} == states


def test_what_waits_too_long_is_worth_a_word() -> None:
    assert health._leftovers(Leftovers(0, 0.0, False)).state is State.OK
    check = health._leftovers(Leftovers(500, 90.0, True))
    assert check.state is State.WARN
    assert "500 or more" in check.found
