"""Real workers for the acceptance tests: started as users start them, told apart by name, ended by their pid."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.fleet import Fleet, make_fleet


@pytest.fixture(scope="module")
def fleet(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A registry without workers; a test starts those it needs."""
    yield from make_fleet(server_url, tmp_path_factory.mktemp("fleet"))


@pytest.fixture(scope="module")
def prefork(fleet: Fleet) -> Fleet:
    """A fleet with one prefork worker that the tests of a module share."""
    fleet.start("prefork", 2)
    return fleet
