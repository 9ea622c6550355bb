"""Forgets what ended longer ago than the retention, and clears what points at records that are gone."""

from __future__ import annotations

from executions.parts import Parts
from executions.registry.pruning import Pruning
from executions.upkeep import Report

#: Executions that one run forgets, over all shards.
PRUNED_AT_ONCE = 1000

#: Executions whose records one run looks for. At a run every ten seconds a million take half a day: records
#: vanish only where the server evicts keys or somebody deletes them.
LOOKED_AT = 500

#: Steps of the sweep through the index in one run, while leftovers are known and while they are not; each looks
#: at some hundreds of bitmaps.
SWEEPS = 10
IDLE_SWEEPS = 1


class Pruner:
    """One chore for all shards. May run twice at once: each step is refused where it was done already."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        #: Where the look through all numbers, and the sweep through all bitmaps, go on: shard and place. A new
        #: process begins anew, which costs time and nothing else.
        self._looked = (0, 0)
        self._swept = (0, 0)
        self._valued = (0, 0)
        #: Shards still to be swept to clear what missing records left behind.
        self._shards_to_sweep = 0

    def run_once(self, now: float) -> Report:
        """Forget one batch, look for some records, sweep some of the index."""
        pruning = Pruning(self._parts.space)
        before_us = round((now - self._parts.settings.retention_s) * 1_000_000)
        forgotten, missing = self._forget(pruning, before_us)
        missing += self._look(pruning)
        if missing:
            # Once around, and to the end of the shard that the sweep stands in.
            self._shards_to_sweep = self._parts.space.shards + 1
        cleared = self._sweep(pruning)
        left = pruning.count_old(before_us) + self._shards_to_sweep
        notes = []
        if missing:
            notes.append(f"{missing} executions had lost their record")
        if cleared:
            notes.append(f"{cleared} leftovers of them were cleared from the index")
        return Report(forgotten + missing, left, tuple(notes))

    def _forget(self, pruning: Pruning, before_us: int) -> tuple[int, int]:
        shards = self._parts.space.all_keys()
        limit = max(1, PRUNED_AT_ONCE // len(shards))
        forgotten = missing = 0
        for keys, olds in zip(shards, pruning.old(shards, before_us, limit), strict=True):
            if olds:
                done = pruning.prune(keys, olds, before_us)
                forgotten, missing = forgotten + done.forgotten, missing + done.missing
                pruning.trim_marks(keys)
        return forgotten, missing

    def _look(self, pruning: Pruning) -> int:
        """Look for the records of the next numbers; give how many were gone."""
        shards = self._parts.space.all_keys()
        shard, number = self._looked
        keys = shards[shard % len(shards)]
        lost, last = pruning.lost(keys, number, LOOKED_AT)
        self._looked = ((shard + 1) % len(shards), 0) if last is None else (shard, last)
        if not lost:
            return 0
        missing = pruning.prune(keys, lost).missing
        pruning.trim_marks(keys)
        return missing

    def _sweep(self, pruning: Pruning) -> int:
        """Go on with the sweep; give how many leftovers were cleared."""
        shards = self._parts.space.all_keys()
        cleared = 0
        for _ in range(SWEEPS if self._shards_to_sweep else IDLE_SWEEPS):
            shard, cursor = self._swept
            cursor, found = pruning.sweep(shards[shard % len(shards)], cursor)
            cleared += found
            self._swept = (shard, cursor) if cursor else ((shard + 1) % len(shards), 0)
            if not cursor:
                self._shards_to_sweep = max(0, self._shards_to_sweep - 1)
            shard, cursor = self._valued
            cursor, found = pruning.sweep_values(shards[shard % len(shards)], cursor)
            cleared += found
            self._valued = (shard, cursor) if cursor else ((shard + 1) % len(shards), 0)
        return cleared
