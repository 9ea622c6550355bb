"""Two who want the same at the same moment, in processes of their own: one gets it, and the record says who."""

from __future__ import annotations

import pytest

from executions.settings import Settings
from tests.races import RACES, run

#: Races of each kind here. `python -m tests.races` runs ten thousand.
COUNT = 1000


@pytest.mark.parametrize("name", RACES)
def test_each_race_has_one_winner_whom_the_log_names(name: str, server_url: str, namespace: str) -> None:
    tally = run(name, Settings(url=server_url, namespace=namespace, principal="ann"), COUNT)
    assert tally.broken == []
    assert tally.wins.total() == COUNT
    # No race where the same side is always first
    assert all(tally.wins[side] for side in (0, 1)), tally.wins
