"""What contract tests share."""

from __future__ import annotations

import pytest

from tests.contract.world import World


@pytest.fixture(params=[1, 16], ids=["1 shard", "16 shards"])
def world(request: pytest.FixtureRequest, server_url: str, broker_url: str, namespace: str) -> World:
    """An empty registry, of one shard and of sixteen."""
    return World(server_url, namespace, request.param, broker_url)
