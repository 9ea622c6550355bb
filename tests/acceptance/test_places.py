"""Wherever results, messages and the registry are: each where it was put, and everything on record."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, chord

import executions
from executions.errors import InvalidSetting
from tests.acceptance.fleet import Fleet, eventually, make_fleet, words

HAPPY = ["pending/queued", "running/started", "success"]


@pytest.fixture(scope="module", params=["file", "redis", "db+sqlite"])
def foreign(
    request: pytest.FixtureRequest, server_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Fleet]]:
    """A fleet whose app keeps its results elsewhere."""
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "results").mkdir()
    where = {
        "file": f"file://{folder}/results",
        "redis": f"{server_url.rsplit('/', 1)[0]}/0",
        "db+sqlite": f"db+sqlite:///{folder}/results.db",
    }[request.param]
    if request.param == "db+sqlite":
        pytest.importorskip("sqlalchemy")
    for fleet in make_fleet(server_url, folder, SHOP_BACKEND=where):
        fleet.start("prefork", 2)
        yield request.param, fleet


def test_a_foreign_backend_keeps_the_results(foreign: tuple[str, Fleet]) -> None:
    name, fleet = foreign
    result = fleet.shop.add.delay(2, 3)
    done = fleet.done(result)
    assert words(done) == HAPPY
    assert done.output == 5
    assert result.get(timeout=10) == 5
    if name == "file":
        assert any(result.id in path.name for path in (fleet.folder / "results").iterdir())


def test_a_foreign_backend_sees_failures_and_stops(foreign: tuple[str, Fleet]) -> None:
    _, fleet = foreign
    failed, stopped = fleet.shop.fail.delay("elsewhere"), fleet.shop.checking.delay(60)
    fleet.running(stopped).terminate()
    assert (fleet.done(failed).status, fleet.done(failed).reason) == ("failed", "error")
    assert fleet.done(stopped).status == "terminated"
    eventually(lambda: failed.state == "FAILURE", "failure")
    eventually(lambda: stopped.state == "REVOKED", "revoked")


def test_a_foreign_backend_joins_chords(foreign: tuple[str, Fleet]) -> None:
    name, fleet = foreign
    if name == "file":
        pytest.skip("cannot join chords across processes")
    result = chord([fleet.shop.add.s(i, 1) for i in range(3)], fleet.shop.total.s()).apply_async()
    assert result.get(timeout=20) == 6
    assert fleet.done(result).status == "success"


@pytest.mark.parametrize("kind", ["password", "valkey"])
def test_urls_of_every_kind(start_server: Any, tmp_path: Path, kind: str) -> None:
    server = start_server()
    host = server.url.split("://", 1)[1].rsplit("/", 1)[0]
    if kind == "password":
        admin = executions.connect(server.url)
        admin._parts.space.client.config_set("requirepass", "sesame")
        admin.close()
    url = {"password": f"redis://:sesame@{host}/3", "valkey": f"valkey://{host}/5"}[kind]
    for fleet in make_fleet(server.url, tmp_path, SHOP_BROKER=url):
        fleet.start("solo", 1)
        result = fleet.shop.add.delay(1, 2)
        assert result.get(timeout=20) == 3
        assert words(fleet.done(result)) == HAPPY
        assert "sesame" not in fleet.workers[0].log


def test_a_unix_socket(server_binary: Path, tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    process = subprocess.Popen(
        [str(server_binary), "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
    )
    try:
        eventually(path.exists, "socket")
        url = f"redis+socket://{path}?virtual_host=2"
        for fleet in make_fleet("redis://unused/0", tmp_path, SHOP_BROKER=url):
            fleet.start("solo", 1)
            result = fleet.shop.add.delay(1, 2)
            assert result.get(timeout=20) == 3
            assert words(fleet.done(result)) == HAPPY
    finally:
        process.terminate()
        process.wait()


def test_a_broker_that_is_not_redis_needs_a_registry() -> None:
    app = Celery("rabbit", broker="memory://", set_as_current=False)
    client = executions.install(app)
    with pytest.raises(InvalidSetting, match="registry"):
        _ = client.settings
    app.close()


def test_another_broker_with_a_registry_beside_it(server_url: str, tmp_path: Path) -> None:
    (tmp_path / "messages" / "control").mkdir(parents=True)
    url = "filesystem://"
    for fleet in make_fleet(server_url, tmp_path, SHOP_BROKER=url, SHOP_REGISTRY=f"{server_url.rsplit('/', 1)[0]}/14"):
        fleet.start("solo", 1)
        result = fleet.shop.add.delay(1, 2)
        assert result.get(timeout=20) == 3
        assert words(fleet.done(result)) == HAPPY
