"""What can be found wrong: a code for each promise, with what a repair does about it."""

from __future__ import annotations

from dataclasses import dataclass

#: code -> what a repair does; nothing where a person has to look.
CODES: dict[str, str] = {
    # The record itself.
    "no-record": "forget the number; its record is gone already",
    "bad-record": "",
    "broken-log": "",
    "lost-attempt": "",
    "changed-end": "",
    "wrong-life": "give the record the life that its status asks for",
    # What points at it.
    "wrong-index": "set the index after the record",
    "stray-index": "clear the index where the record says otherwise",
    "wrong-times": "set the times after the record",
    "stray-member": "forget the number; nothing has it",
    "wrong-count": "count again",
    "missing-value": "enter the value again",
    "stray-value": "forget the value; its record does not have it",
    "missing-mark": "",
    "unlisted-record": "",
    # Who moves it on.
    "no-owner": "free it, as its on_reset says, at the next run of the upkeep",
    "past-deadline": "",
    "stuck-stopping": "",
    "past-expiry": "end it as expired",
    "overdue": "",
    "not-in-outbox": "put it back into the outbox; upkeep sends its message again",
    "stale-outbox": "take it out of the outbox",
    "no-stop": "write the stop request again for its worker",
    "stale-stop": "forget the stop request; it was obeyed",
    "waits-for-nobody": "put it back into the outbox; it asks its service again",
    "stale-slot": "give the slot back to the service",
    "stale-parked": "take it out of the service's queue",
    "dead-term": "",
    # Keys.
    "no-life": "",
    "over-cap": "",
    "unknown-key": "",
}


@dataclass(frozen=True)
class Finding:
    """One promise that does not hold."""

    code: str
    #: What it is about: an execution's id where one is known, else a key or a name.
    id: str
    #: What was found.
    found: str
    shard: int = 0
    #: The number within the shard, where it is about one.
    number: int | None = None
    #: Terms of the index, or names, that a repair needs.
    terms: tuple[str, ...] = ()
    #: Whether a repair was made.
    repaired: bool = False

    @property
    def repair(self) -> str:
        """What a repair does, or nothing."""
        return CODES[self.code]
