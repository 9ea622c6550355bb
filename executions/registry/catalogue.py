"""The catalogue: what the workers say of the functions that they know, for those who do not have the code.

The worker that started last describes a function; the others, as long as they live, only say that they know it
too. So the old workers of a deployment that is under way do not put back what the new ones have said.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from executions.clock import SYSTEM_CLOCK, to_datetime
from executions.errors import ExecutionsError
from executions.function import Function
from executions.registry import keys, scripts
from executions.registry.connection import translated
from executions.registry.space import Space

#: Seconds between two times that a worker says what it knows, and after which a function that nobody told of is
#: not alive: three of these were missed.
TELL_S = 60.0
ALIVE_S = 3 * TELL_S + 10.0

#: Seconds after which a function that nobody tells of is forgotten: a fleet that rests overnight is still known.
LIFE_S = 3 * 24 * 3600

#: Functions that are kept, those told of last; and how many are told in one call.
MOST = 5000
BATCH = 200

#: Seconds that a client goes by what it has read; less where nothing was there, as a worker may just be starting.
KEPT_S = 30.0
MISSED_S = 5.0


class Catalogue:
    """Reads and writes about functions."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._kept: dict[str, tuple[float, Function | None]] = {}

    def function(self, name: str) -> Function | None:
        """Give a function as this process knows it, at most `KEPT_S` old; `None` where it cannot be told."""
        now = SYSTEM_CLOCK.monotonic()
        known = self._kept.get(name)
        if known is not None and known[0] > now:
            return known[1]
        try:
            found = self.read(name)
        except ExecutionsError:
            # What is only good to know must not keep anybody from a submit.
            found, kept_s = known[1] if known else None, MISSED_S
        else:
            kept_s = KEPT_S if found else MISSED_S
        if len(self._kept) >= MOST:
            self._kept.clear()
        self._kept[name] = (now + kept_s, found)
        return found

    @translated
    def read(self, name: str) -> Function | None:
        """Read one function from the server; `None` where nobody told of it."""
        seconds, _ = self._space.client.time()
        pipeline = self._space.client.pipeline(transaction=False)
        pipeline.hget(self._places[0], name)
        pipeline.zscore(self._places[1], name)
        text, told_us = pipeline.execute()
        return _function(name, text, told_us, seconds)

    @translated
    def all(self) -> list[Function]:
        """Give all functions by name, at most `MOST`."""
        seconds, _ = self._space.client.time()
        pipeline = self._space.client.pipeline(transaction=False)
        pipeline.hgetall(self._places[0])
        pipeline.zrange(self._places[1], 0, MOST - 1, withscores=True)
        texts, told = pipeline.execute()
        found = [_function(name.decode(), texts.get(name), told_us, seconds) for name, told_us in sorted(told)]
        return [one for one in found if one is not None]

    @translated
    def tell(self, functions: Sequence[Function], *, worker: str, anew: bool) -> None:
        """Say that a worker knows these; with `anew`, describe them also where they are described already."""
        for at in range(0, len(functions), BATCH):
            words: list[str] = []
            for one in functions[at : at + BATCH]:
                words += (one.name, json.dumps({**one.as_dict(), "by": worker}, separators=(",", ":")))
            scripts.CATALOGUE_TELL(self._space.client, self._places, ("1" if anew else "", LIFE_S, MOST, *words))

    @property
    def _places(self) -> tuple[str, str]:
        namespace = self._space.namespace
        return keys.functions(namespace), keys.functions_told(namespace)


def _function(name: str, text: bytes | None, told_us: float | None, now_s: int) -> Function | None:
    if text is None or told_us is None or now_s - told_us / 1_000_000 > LIFE_S:
        return None
    try:
        said: Any = json.loads(text)
        return Function.read(
            name,
            said,
            told_by=said.get("by", ""),
            told=to_datetime(round(told_us)),
            alive=now_s - told_us / 1_000_000 <= ALIVE_S,
        )
    except (ValueError, TypeError, AttributeError):
        return None
