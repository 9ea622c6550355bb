"""Registries that are more than one server: a cluster, and a primary that Sentinels watch."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import celery
import pytest
from celery import chain, chord, group

import executions
from executions import InvalidSetting
from tests.acceptance.fleet import Fleet, eventually, make_fleet, words
from tests.conftest import StartServer
from tests.servers import Cluster, Watched

QUICK = {"EXECUTIONS_BEAT_S": "0.3", "EXECUTIONS_LEASE_S": "1.5"}


@pytest.fixture(scope="module")
def clustered(server_url: str, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Sixteen shards on three nodes; the messages go to a server beside them."""
    for fleet in make_fleet(
        server_url, tmp_path_factory.mktemp("cluster"),
        SHOP_REGISTRY=cluster.url, EXECUTIONS_SHARDS="16", **QUICK,
    ):  # fmt: skip
        fleet.start("prefork", 2)
        yield fleet


@pytest.mark.skipif(celery.VERSION < (5, 5), reason="Celery before 5.5 stores groups in a way that a cluster refuses")
def test_everything_that_celery_composes_runs_over_a_cluster(clustered: Fleet) -> None:
    add = clustered.shop.add
    assert chain(add.s(1, 2), add.s(3), add.s(4)).delay().get(timeout=30) == 10
    assert sorted(group(add.s(n, n) for n in range(20)).delay().get(timeout=30)) == [2 * n for n in range(20)]
    assert chord([add.s(n, n) for n in range(20)], clustered.shop.total.s()).delay().get(timeout=30) == 380


def test_a_cluster_is_listed_followed_and_stopped_like_one_server(clustered: Fleet) -> None:
    client = clustered.client
    done = client.map("shop.add", [(n, 1) for n in range(50)])
    for one in done:
        one.wait(timeout=30)
    shards = {client._parts.space.shard(one.id) for one in done}
    assert len(shards) > 3, "they should lie on several nodes"
    assert client.executions.count("function:shop.add AND status:success") >= 50
    page = client.executions.list("function:shop.add", sort="-finished", limit=20)
    rest = client.executions.list("function:shop.add", sort="-finished", limit=20, cursor=page.next_cursor)
    assert not {one.id for one in page} & {one.id for one in rest}

    waits = client.submit("shop.sleeping", 60)
    clustered.running(waits.id)
    waits.terminate(cause="enough", force=True)
    assert words(waits.wait(timeout=30))[-1] == "terminated/requested"


def test_a_cluster_carries_no_messages_and_says_so(cluster: Cluster) -> None:
    client = executions.connect(cluster.url, namespace="nobroker")
    with pytest.raises(InvalidSetting, match="name a broker beside it"):
        client.submit("shop.add", 1, 2)
    client.close()


@pytest.fixture
def watched(start_server: StartServer, server_binary: Path, tmp_path: Path) -> Iterator[Watched]:
    """A primary, its replica and three Sentinels."""
    made = Watched(start_server, server_binary, tmp_path / "sentinels")
    yield made
    made.stop()


def test_work_goes_on_with_the_new_primary(watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given registry and broker behind Sentinels. If the primary is killed I expect all to go on with the other."""
    for name in ("SHOP_REGISTRY", "EXECUTIONS_SHARDS"):  # of the fleet before
        monkeypatch.delenv(name, raising=False)
    for fleet in make_fleet("redis://unused/0", tmp_path, SHOP_BROKER=watched.url, **QUICK):
        fleet.start("prefork", 2)
        assert fleet.client.settings.url == watched.url
        assert fleet.client.submit("shop.add", 1, 2).wait(timeout=30).output == 3

        running = fleet.client.submit("shop.sleeping", 8)
        fleet.running(running.id)
        # Replication is asynchronous: what the replica has not heard of, a failover loses.
        assert watched.replicas_agree()
        identity = watched.primary.identity
        assert identity is not None
        os.kill(identity.pid, signal.SIGKILL)

        after = eventually(partial(try_to_submit, fleet), "a submit after the failover", 60)
        assert after.wait(timeout=60).output == 7
        assert running.wait(timeout=60).status == "success", "what ran was not disturbed"
        assert running.refresh().attempts == 1


def try_to_submit(fleet: Fleet) -> executions.Execution | None:
    try:
        return fleet.client.submit("shop.add", 3, 4)
    except executions.Unavailable:
        return None
