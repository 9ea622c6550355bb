"""What failed beside the last run of the same function that succeeded: what was different then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from executions.client import Client
from executions.errors import ExecutionsError
from executions.execution import Execution
from executions.server.pages.search import term
from executions.server.pages.words import iso, plain

Inputs = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it was; `None` where there was none of it."""

    name: str
    before: str | None
    now: str | None


def last_success(client: Client, execution: Execution) -> Execution | None:
    """Find the newest of the same function that was created before this one and succeeded."""
    query = f'{term("function", execution.function)} AND status:success AND created:<"{iso(execution.created)}"'
    try:
        found = client.executions.list(query, limit=1).items
        return client.executions.get(found[0].id) if found else None
    except ExecutionsError:
        return None  # removed this moment; the failure is worth showing all the same


def differences_of(
    execution: Execution, inputs: Inputs, before: Execution, inputs_before: Inputs
) -> Sequence[Difference]:
    """Give what differs between two of one function, what they were given first."""
    return [*_differing(inputs_before, inputs), *_differing(_surroundings(before), _surroundings(execution))]


def read_inputs(client: Client, execution: Execution) -> list[tuple[str, str]]:
    """Give the inputs by name; those given by position too, where a worker has told which parameter that is."""
    args = list(execution.inputs.get("args") or ())
    named = dict(execution.inputs.get("kwargs") or {})
    names: Sequence[str] = ()
    if args:
        try:
            known = client.functions.get(execution.function).parameters
            names = known.positional if known else ()
        except ExecutionsError:
            pass  # nobody knows it any more; positions have to do
    given = [(names[at] if at < len(names) else f"#{at + 1}", value) for at, value in enumerate(args)]
    return [(name, plain(value)) for name, value in [*given, *named.items()]]


def _differing(before: Inputs, now: Inputs) -> Iterator[Difference]:
    old, new = dict(before), dict(now)
    for name in dict.fromkeys((*new, *old)):
        if old.get(name) != new.get(name):
            yield Difference(name, old.get(name), new.get(name))


def _surroundings(e: Execution) -> Inputs:
    code = e.ran or e.code
    told = (
        ("Commit", code and f"{code.commit}{' with changes' if code.is_dirty else ''}"),
        ("Policy version", str(e.service_version or "")),
        ("Time limit", f"{e.execution_timeout:g} s" if e.execution_timeout else ""),
        ("Queue", e.queue),
        ("Worker", e.worker),
        ("Pool", e.pool),
    )
    return [(name, value) for name, value in told if value]
