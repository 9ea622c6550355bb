"""`client.payloads`: inputs and outputs as files, however large, and links to them that end by themselves."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from executions import codec
from executions.access import same
from executions.clock import SYSTEM_CLOCK
from executions.errors import Conflict, InvalidInput, NotFound
from executions.parts import Parts
from executions.payloads import REFERENCE
from executions.registry.links import LinkKey
from executions.registry.queries import Queries

#: What an execution has as a file.
WHICH = ("input", "output")

#: Seconds that a link holds, unless it is said otherwise, and at most.
LASTS_S = 900
LONGEST_S = 7 * 24 * 3600


@dataclass(frozen=True)
class Link:
    """What it takes to read one payload for a while, whoever has it."""

    execution_id: str
    which: str
    #: The attempt whose output it is: that of a later one is another.
    attempt: int
    #: Seconds since the epoch.
    expires: int
    signature: str

    @property
    def expires_at(self) -> datetime:
        """When it ends."""
        return datetime.fromtimestamp(self.expires, UTC)


class PayloadsView:
    """Read payloads, and sign links to them."""

    def __init__(self, parts: Parts, queries: Queries) -> None:
        self._parts = parts
        self._queries = queries
        self._key = LinkKey(parts.space)

    def read(self, execution_id: str, which: str, attempt: int | None = None) -> str:
        """Give the inputs (a list: those by position, those by name) or the output, as JSON.

        Inputs come as they may be shown: what looks secret is redacted. Raises `NotFound` where there is none, or
        where `attempt` is not the current one.
        """
        execution, raw = self._found(execution_id, which)
        if which == "output" and attempt not in (None, execution.attempt):
            raise NotFound(f"the output of attempt {attempt} of execution {execution_id} is not kept any more")
        if which == "output":
            return self._parts.payloads.get(raw["or"]) if "or" in raw else raw["out"]
        true = raw.get("pay", "")
        return self._shown(execution.function, true) if true.startswith(REFERENCE) else raw["in"]

    def link(self, execution_id: str, which: str, lasts_s: float = LASTS_S) -> Link:
        """Sign a link for a while; raises `NotFound` where there is nothing behind it."""
        if isinstance(lasts_s, bool) or not isinstance(lasts_s, int | float) or not 1 <= lasts_s <= LONGEST_S:
            raise InvalidInput(f"a link lasts from 1 to {LONGEST_S} seconds, not {lasts_s!r}")
        execution, _ = self._found(execution_id, which)
        attempt = execution.attempt if which == "output" else 0
        expires = int(SYSTEM_CLOCK.now() + lasts_s)
        return Link(execution_id, which, attempt, expires, self._signed(execution_id, which, attempt, expires))

    def check(self, link: Link) -> None:
        """Raise `Conflict` where a link is not one of ours, or its time is over."""
        wanted = self._signed(link.execution_id, link.which, link.attempt, link.expires)
        if not same(wanted, link.signature):
            raise Conflict("this link was not signed here, or the secret was replaced since")
        if link.expires <= SYSTEM_CLOCK.now():
            raise Conflict(f"this link was good until {link.expires_at.isoformat(' ')}")

    def revoke(self) -> None:
        """End all links that there are."""
        self._key.replace()

    def _signed(self, *what: str | int) -> str:
        text = "\n".join(map(str, (self._parts.space.identity, *what)))
        return hmac.new(self._key.read(), text.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()

    def _found(self, execution_id: str, which: str) -> tuple[Any, dict[str, str]]:
        if which not in WHICH:
            raise InvalidInput(f"there is {' and '.join(WHICH)}, no {which!r:.60}")
        execution = self._queries.get(execution_id)
        if which == "output" and not execution.has_output:
            raise NotFound(f"execution {execution_id} has no output; it is {execution.status}")
        return execution, execution._raw

    def _shown(self, function: str, reference: str) -> str:
        """Give large inputs without what is secret, which only the function's parameters tell."""
        known = self._parts.function(function)
        if known is None:
            raise Conflict(f"nobody knows {function} any more, so it cannot be told which of its inputs are secret")
        text = self._parts.payloads.get(reference)
        args, kwargs = codec.decode(text)[:2]
        shown_args, shown_kwargs, hidden = codec.redact(args, kwargs, known.places, known.redact)
        return codec.encode((shown_args, shown_kwargs)) if hidden else text
