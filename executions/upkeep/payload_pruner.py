"""Removes the files of the payload store that no execution refers to any more, see docs/decisions/payload-files.md."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

from executions.parts import Parts
from executions.registry.pruning import Pruning
from executions.upkeep import Report

#: Seconds from the end of one round to the next one.
ROUND_EVERY_S = 6 * 3600.0

#: Seconds that files are left alone beyond the retention, counted from the end of their day. In this time each
#: reference is written that was made on that day: an end waits ten minutes for the registry, and an output can be
#: reused for as long as its record is there, which the server keeps a day longer than the pruner does.
MARGIN_S = 2 * 24 * 3600

#: Records that one run reads, over one shard; each may hold arguments of up to 64 KiB.
READ_AT_ONCE = 500

#: Folders that one run looks through, and files that it removes: some seconds at most, where each is a request.
FOLDERS_AT_ONCE = 16
REMOVED_AT_ONCE = 100

#: Bits of the table of what is in use: 2 MiB, however many executions there are.
_BITS = 24


class Used:
    """A set of references that may take one that is not in it for one that is, and never the other way round.

    So a file may stay that could go, until the one that it was taken for goes; none goes that has to stay.
    """

    def __init__(self) -> None:
        self._table = bytearray(1 << (_BITS - 3))

    def add(self, reference: str) -> None:
        place = self._place(reference)
        self._table[place >> 3] |= 1 << (place & 7)

    def __contains__(self, reference: str) -> bool:
        place = self._place(reference)
        return bool(self._table[place >> 3] >> (place & 7) & 1)

    def _place(self, reference: str) -> int:
        return zlib.crc32(reference.encode(errors="replace")) >> (32 - _BITS)


@dataclass
class _Round:
    """Read every record, then go through the days that were over when that began."""

    days: list[int]
    used: Used = field(default_factory=Used)
    #: Shard and number after which the reading goes on.
    shard: int = 0
    number: int = 0
    #: Folders of the first of the days that are still to be looked through.
    folders: list[str] = field(default_factory=list)


class PayloadPruner:
    """One chore for all shards. A new leader begins its round anew, which costs time and nothing else."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._round: _Round | None = None
        self._due = 0.0

    def run_once(self, now: float) -> Report:
        """Go on with the round, or begin one where it is time and some day's files are old enough."""
        current = self._round
        # Taken back only at its end: after an error what was read may be incomplete, and is not used.
        self._round = None
        if current is None:
            if now < self._due:
                return Report()
            self._due = now + ROUND_EVERY_S
            before = now - self._parts.settings.retention_s - MARGIN_S
            current = _Round(self._parts.payloads.days_over(before))
        removed = self._read(current) if current.shard < self._parts.space.shards else self._clear(current)
        if not current.days:
            return Report(removed)
        self._round = current
        return Report(removed, len(current.days))

    def _read(self, current: _Round) -> int:
        """Note what the next records refer to; nothing is removed before all are read."""
        if current.days:
            keys = self._parts.space.all_keys()[current.shard]
            found, last = Pruning(self._parts.space).references(keys, current.number, READ_AT_ONCE)
            for reference in found:
                current.used.add(reference)
            current.shard, current.number = (current.shard + 1, 0) if last is None else (current.shard, last)
        return 0

    def _clear(self, current: _Round) -> int:
        payloads, removed = self._parts.payloads, 0
        for _ in range(FOLDERS_AT_ONCE):
            if not current.folders:
                current.folders = payloads.folders(current.days[0])
            if current.folders:
                left = REMOVED_AT_ONCE - removed
                removed += payloads.clear(current.days[0], current.folders[-1], current.used.__contains__, left)
                if removed >= REMOVED_AT_ONCE:
                    break
                current.folders.pop()
            if not current.folders:
                payloads.forget_day(current.days.pop(0))
            if not current.days:
                break
        return removed
