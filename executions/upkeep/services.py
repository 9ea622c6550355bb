"""The list of chores, and how often each is due."""

from __future__ import annotations

from executions.parts import Parts
from executions.upkeep import Chore
from executions.upkeep.bulk_carrier import BulkCarrier
from executions.upkeep.contact import Contact
from executions.upkeep.deadlines import Deadlines
from executions.upkeep.payload_pruner import PayloadPruner
from executions.upkeep.pruner import Pruner
from executions.upkeep.publisher import Publisher
from executions.upkeep.rescuer import Rescuer
from executions.upkeep.restorer import Restorer
from executions.upkeep.scheduler import Scheduler
from executions.upkeep.waker import Waker


def chores(parts: Parts, contact: Contact) -> list[tuple[Chore, float]]:
    """Give the chores that may take their time, with the seconds between two runs."""
    return [
        # Whenever somebody leads: a lost worker's executions wait for this, and the messages it held.
        (Rescuer(parts, contact), 0.0),
        (Restorer(parts), 1.0),
        (Deadlines(parts, contact), parts.settings.beat_s),
        (Waker(parts), 2.0),
        (Publisher(parts), 5.0),
        (BulkCarrier(parts), 1.0),
        (Pruner(parts), 2.0),
        (PayloadPruner(parts), 2.0),
    ]


def prompt_chores(parts: Parts, contact: Contact) -> list[tuple[Chore, float]]:
    """Give the chores that nothing may delay, with the seconds between two runs."""
    return [(Scheduler(parts), 0.25)]
