"""Submitting: from what a caller writes to a row in the registry and a message to the fleet."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from executions import codec, context
from executions.clock import SYSTEM_CLOCK, to_us
from executions.dispatch import DEFAULT_QUEUE, Envelope
from executions.errors import Conflict, InvalidInput
from executions.execution import Execution
from executions.function import Function, describe
from executions.ids import named_id, new_id, new_name
from executions.inputs import prepare
from executions.parts import Parts
from executions.policy import FIELD_NAMES, parse_policy
from executions.registry.queries import Queries
from executions.registry.transitions import Accepted, Found, Submission

#: Options of a submit besides the policy's fields; anything else is an argument of the function.
OPTIONS = FIELD_NAMES | {
    "name", "name_prefix", "tags", "queue", "priority", "eta", "countdown", "expires", "pipeline", "stage",
    "properties", "service", "reference", "principal", "id", "inputs",
}  # fmt: skip

#: Executions that go to the registry, and then to the broker, in one batch.
BATCH = 500

#: The longest that anything can be put off, a hundred years: it must stay a time that can be shown.
LATEST_S = 100 * 366 * 24 * 3600


class Submitter:
    """Accepts executions."""

    def __init__(self, parts: Parts, queries: Callable[[], Queries]) -> None:
        self._parts = parts
        self._queries = queries

    def submit(
        self, function: Any, args: Sequence[Any], options: dict[str, Any], at_most_once: bool = False
    ) -> Execution:
        """Record one execution and send its message."""
        given = {key: value for key, value in options.items() if key in OPTIONS}
        kwargs = {key: value for key, value in options.items() if key not in OPTIONS}
        args, kwargs = with_inputs(args, kwargs, given.pop("inputs", None))
        known = self._known(function)
        if known is not None:
            known.check(args, kwargs, given.get("service"))
        if not isinstance(function, str):
            given["queue"] = given.get("queue") or getattr(function, "queue", None)
        return self._accept(function_name(function), known, args, kwargs, given, at_most_once)

    def submit_once(self, key: str, function: Any, args: Sequence[Any], options: dict[str, Any]) -> Execution:
        """Record one execution for a key, or give the one that was."""
        once = {**options, "id": named_id(key, f"once\x00{self._parts.settings.principal}")}
        return self.submit(function, args, once, at_most_once=True)

    def resubmit(self, function: str, args: Sequence[Any], kwargs: dict[str, Any], given: dict[str, Any]) -> Execution:
        """Record one execution whose arguments and options are apart already, and leave the check to its worker."""
        return self._accept(function, self._known(function), args, kwargs, given)

    def _accept(
        self,
        name: str,
        known: Function | None,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        given: dict[str, Any],
        at_most_once: bool = False,
    ) -> Execution:
        context.check_before_sending()
        parts = self._parts
        submission, envelope = self._prepare(name, known, args, kwargs, given)
        if parts.sends_with_rows:
            outcome = parts.transitions.submit(submission, *parts.dispatcher.written([envelope]))
        else:
            outcome = self._accept_by_app(submission, envelope, given)
        return self._picture(submission, outcome, at_most_once)

    def _accept_by_app(self, submission: Submission, envelope: Envelope, given: Mapping[str, Any]) -> Accepted | Found:
        parts = self._parts
        sent = parts.dispatcher.send_new(submission, envelope) if is_made_for_call(given) else None
        if sent is not None:
            return sent
        outcome = parts.transitions.submit(submission)
        if is_to_be_sent(outcome, given):
            parts.dispatcher.publish(envelope)
        return outcome

    def map(self, function: Any, inputs: Iterable[Any], options: dict[str, Any]) -> list[Execution]:
        """Record and send many, a batch at a time."""
        name, known, done = function_name(function), self._known(function), []
        unknown = options.keys() - OPTIONS
        if unknown:
            raise InvalidInput(f"unknown option {min(unknown)!r}; arguments go into the inputs")
        for batch in _batches(inputs, BATCH):
            arguments = [_arguments(item) for item in batch]
            if known is not None:
                for args, kwargs in arguments:
                    known.check(args, kwargs, options.get("service"))
            prepared = [self._prepare(name, known, args, kwargs, options) for args, kwargs in arguments]
            submissions, envelopes = zip(*prepared, strict=True)
            outcomes = self._accept_many(submissions, envelopes, options)
            done += [self._picture(*one) for one in zip(submissions, outcomes, strict=True)]
        return done

    def _accept_many(
        self, submissions: Sequence[Submission], envelopes: Sequence[Envelope], given: Mapping[str, Any]
    ) -> list[Accepted | Found]:
        parts = self._parts
        if parts.sends_with_rows:
            return parts.transitions.submit_many(submissions, parts.dispatcher.written(envelopes))
        outcomes = parts.transitions.submit_many(submissions)
        pairs = zip(envelopes, outcomes, strict=True)
        parts.dispatcher.publish_many([envelope for envelope, outcome in pairs if is_to_be_sent(outcome, given)])
        return outcomes

    def _picture(self, submission: Submission, outcome: Accepted | Found, at_most_once: bool = False) -> Execution:
        """Give the new execution; where there is one of this name already, that one."""
        if isinstance(outcome, Accepted):
            return self._queries().accepted(submission, outcome)
        known = self._queries().get(submission.id)
        differs = known._raw.get("in") != submission.inputs
        if at_most_once and (differs or known.function != submission.function):
            raise Conflict(f"this key was used before with other inputs, for execution {known.id} of {known.function}")
        if differs:
            warnings.warn(
                f"execution {known.id} ({submission.name or 'its id'} was submitted before) keeps its first inputs; "
                "the new ones differ and are not used",
                stacklevel=5,
            )
        return known

    def _known(self, function: Any) -> Function | None:
        name = function_name(function)
        # A signature of Celery's is a dict, and has a name as a task has.
        return self._parts.function(name) if isinstance(function, str | Mapping) else describe(function)

    def _prepare(
        self,
        name: str,
        known: Function | None,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        given: dict[str, Any],
    ) -> tuple[Submission, Envelope]:
        settings = self._parts.settings
        function = known or Function(name=name, service=given.get("service"))
        given = _named(self._with_declared(function, given))
        inputs = prepare(args, kwargs, settings, self._parts.payloads, names=function.places, also=function.redact)
        (eta, delay), expires = _start(given), _moment("expires", given.get("expires"))
        caller = context.running()
        execution_id = given.get("id") or (named_id(given["name"], name) if given.get("name") else new_id())
        queue = given["queue"]
        kept = {"properties": {"priority": given["priority"]}} if given.get("priority") is not None else {}
        submission = Submission(
            id=execution_id,
            function=name,
            inputs=inputs.shown,
            payload=inputs.true,
            headers=codec.encode(kept) if kept else None,
            options=parse_policy({key: given[key] for key in FIELD_NAMES & given.keys()}).as_dict(),
            name=given.get("name"),
            service=function.service,
            pipeline=given.get("pipeline"),
            stage=given.get("stage"),
            queue=queue,
            principal=given.get("principal") or settings.principal,
            parent_id=caller.id if caller else None,
            root_id=(caller.root_id or caller.id) if caller else None,
            reference=given.get("reference"),
            eta_us=eta,
            delay_us=delay,
            expires_us=expires,
            tags=tuple(dict.fromkeys((*function.tags, *(str(tag) for tag in given.get("tags") or ())))),
            properties=_properties(given.get("properties") or {}),
            code=self._parts.checkouts.own(),
        )
        envelope = Envelope(
            id=execution_id, function=name, attempt=1,
            args=() if inputs.reference else args, kwargs={} if inputs.reference else kwargs, reprs=inputs.reprs,
            queue=queue, payload=inputs.reference, parent_id=submission.parent_id, root_id=submission.root_id,
            expires_us=expires, kept=kept,
        )  # fmt: skip
        return submission, envelope

    def _with_declared(self, function: Function, given: dict[str, Any]) -> dict[str, Any]:
        """Lay the options of a call over those that its function was declared with."""
        declared = {name: getattr(function, name) for name in ("priority", "expires", "pipeline", "stage")}
        merged = declared | {name: value for name, value in given.items() if value is not None}
        merged["queue"] = merged.get("queue") or self._parts.queue_of(function) or DEFAULT_QUEUE
        return merged


def is_to_be_sent(outcome: Accepted | Found, given: Mapping[str, Any]) -> bool:
    """Tell whether this very call made the row, and its time has come.

    An id that was made for the call cannot be anybody else's: it is found where the first reply got lost.
    """
    return outcome.eta_us is None if isinstance(outcome, Accepted) else is_made_for_call(given)


def is_made_for_call(given: Mapping[str, Any]) -> bool:
    """Tell whether the id is made for the very call, which has no time of its own: its message is sent at once."""
    return not any(given.get(option) is not None for option in ("name", "id", "eta", "countdown"))


def function_name(function: Any) -> str:
    """Give the name that a function is registered under."""
    name = function if isinstance(function, str) else getattr(function, "name", None)
    if not isinstance(name, str) or not name:
        raise InvalidInput(f"a function must be a task or the name of one, not {function!r}")
    return name


def with_inputs(args: Sequence[Any], kwargs: dict[str, Any], inputs: Any) -> tuple[Sequence[Any], dict[str, Any]]:
    """Give the arguments of a call, which come as they are or as `inputs={...}`."""
    if inputs is None:
        return tuple(args), kwargs
    by_name = isinstance(inputs, Mapping)
    if kwargs or (args and not by_name):
        raise InvalidInput("give a function's arguments either as they are or as inputs={...}, not both")
    return (tuple(args), dict(inputs)) if by_name else (tuple(inputs), {})


def _named(given: dict[str, Any]) -> dict[str, Any]:
    """Make a name that nobody has, where only its beginning was given."""
    prefix = given.pop("name_prefix", None)
    if prefix is None:
        return given
    if given.get("name"):
        raise InvalidInput("give either name or name_prefix, not both")
    return given | {"name": new_name(prefix)}


def _arguments(item: Any) -> tuple[Sequence[Any], dict[str, Any]]:
    if isinstance(item, Mapping):
        return (), dict(item)
    return (item if isinstance(item, tuple) else (item,)), {}


def _properties(given: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): codec.encode(value, f"property {key!r}") for key, value in given.items()}


def _start(given: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Read when it may start: at a time, or after a delay that the registry's clock counts."""
    name = "eta" if given.get("eta") is not None else "countdown"
    value = given.get(name)
    if value is None or isinstance(value, datetime):
        return _moment(name, value), None
    return None, round(_seconds(name, value) * 1_000_000)


def _moment(name: str, value: Any) -> int | None:
    """Read a time that is given as such, or as seconds from now."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return to_us(value)
    return round((SYSTEM_CLOCK.now() + _seconds(name, value)) * 1_000_000)


def _seconds(name: str, value: Any) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= LATEST_S:
        raise InvalidInput(f"{name} must be a time or a number of seconds from now, not {value!r}")
    return seconds


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
