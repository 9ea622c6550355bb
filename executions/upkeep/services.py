"""The list of chores, and how often each is due."""

from __future__ import annotations

from executions.parts import Parts
from executions.upkeep import Chore
from executions.upkeep.pruner import Pruner
from executions.upkeep.publisher import Publisher
from executions.upkeep.rescuer import Rescuer
from executions.upkeep.restorer import Restorer
from executions.upkeep.waker import Waker


def chores(parts: Parts) -> list[tuple[Chore, float]]:
    """Give every chore with the seconds between two runs."""
    return [
        (Rescuer(parts), 2.0),
        (Restorer(parts), 2.0),
        (Waker(parts), 2.0),
        (Publisher(parts), 5.0),
        (Pruner(parts), 2.0),
    ]
