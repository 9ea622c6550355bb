"""Arguments on their way into the registry: what may be shown, what is the truth, what is too large."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from executions import codec
from executions.errors import InvalidInput
from executions.payloads import REFERENCE, Payloads
from executions.settings import Settings


@dataclass(frozen=True)
class Inputs:
    """The arguments of one execution, ready to be written."""

    #: `[args, kwargs]` as JSON, as they may be shown.
    shown: str
    #: The true ones as JSON, or the reference to them, where they are not the shown ones.
    true: str | None = None
    #: Their `repr`s without secrets, where something had to be hidden.
    reprs: tuple[str, str] | None = None

    @property
    def reference(self) -> str | None:
        """The reference into the payload store, if they lie there."""
        return self.true if self.true is not None and self.true.startswith(REFERENCE) else None


def prepare(
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    settings: Settings,
    payloads: Payloads,
    *,
    names: Sequence[str] = (),
    also: Collection[str] = (),
) -> Inputs:
    """Check, redact and put away arguments; `names` are the parameters' names, `also` more secret ones."""
    shown_args, shown_kwargs, hidden = codec.redact(args, kwargs, names, also)
    text = codec.encode((shown_args, shown_kwargs), "arguments")
    reprs = (repr(tuple(shown_args)), repr(shown_kwargs)) if hidden else None
    if len(text) <= settings.payload_threshold and not hidden:
        return Inputs(text)
    true = codec.encode((args, kwargs), "arguments") if hidden else text
    if len(true) > settings.payload_max:
        raise InvalidInput(f"the arguments are {len(true)} bytes of JSON; at most {settings.payload_max} are accepted")
    if len(true) <= settings.payload_threshold:
        return Inputs(text, true, reprs)
    note = f"[{len(true)} bytes in the payload store]"
    shown = codec.encode(([note] if args else [], dict.fromkeys(kwargs, note)))
    return Inputs(shown, payloads.put(true), reprs or (note, note))
