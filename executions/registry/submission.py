"""An execution on its way in: what is known of it, as the fields and index terms of its record."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from executions.git import Checkout
from executions.states import Reason


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What is known of an execution when it is accepted."""

    id: str
    function: str
    inputs: str
    reason: Reason = Reason.QUEUED
    message: str = ""
    payload: str | None = None
    headers: str | None = None
    #: Which chord is told of its end: `member` for its own, `chain` for the one behind its chain.
    chord: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    name: str | None = None
    service: str | None = None
    pipeline: str | None = None
    stage: str | None = None
    queue: str | None = None
    principal: str | None = None
    parent_id: str | None = None
    root_id: str | None = None
    reference: str | None = None
    #: Celery's own count of retries, which its `retry()` goes by.
    retries: int = 0
    #: Not before this time or, by the registry's clock, not before so long from now. Give one of them.
    eta_us: int | None = None
    delay_us: int | None = None
    expires_us: int | None = None
    tags: tuple[str, ...] = ()
    properties: dict[str, str] = field(default_factory=dict)
    #: The code that submits it.
    code: Checkout | None = None
    #: Whether the message may have to be published again; not so for eager runs, which have none.
    in_outbox: bool = True


def next_message(s: Submission) -> list[Any]:
    """Give what changes on the record when another message is sent for an execution that is known."""
    fields: list[Any] = ["in", s.inputs, "pay", s.payload or "", "hd", s.headers or "", "re", s.retries, "cd", s.chord]
    for code, value in (("eta", _eta(s)), ("ex", s.expires_us)):
        if value is not None:
            fields += (code, value)
    return fields


def _eta(s: Submission) -> int | str | None:
    """Write the time as the scripts read it, which make a time of a delay."""
    return s.eta_us if s.delay_us is None else f"+{s.delay_us}"


def fields_of(s: Submission) -> list[Any]:
    """Give the fields of its record, see records.py."""
    fields: list[Any] = ["fn", s.function, "in", s.inputs]
    for code, value in (
        ("pay", s.payload), ("hd", s.headers), ("nm", s.name), ("sv", s.service), ("pl", s.pipeline),
        ("sg", s.stage), ("qu", s.queue), ("pr", s.principal), ("pa", s.parent_id), ("ref", s.reference),
        ("eta", _eta(s)), ("ex", s.expires_us), ("cd", s.chord or None),
    ):  # fmt: skip
        if value is not None:
            fields += (code, value)
    if s.root_id and s.root_id != s.id:
        fields += ("ro", s.root_id)
    if s.code:
        fields += ("gi", s.code.id, "gc", s.code.commit)
        if s.code.branch:
            fields += ("gb", s.code.branch)
    if s.options:
        fields += ("op", json.dumps(s.options, separators=(",", ":")))
    if s.tags:
        fields += ("tg", json.dumps(s.tags))
    for key, text in s.properties.items():
        fields += (f"p.{key}", text)
    return fields


def terms_of(s: Submission) -> list[str]:
    """Give the terms under which it is listed, as field and value in turn."""
    terms: list[str] = ["function", s.function]
    for field_name, value in (
        ("service", s.service), ("queue", s.queue), ("pipeline", s.pipeline), ("stage", s.stage),
        ("parent", s.parent_id), ("name", s.name),
    ):  # fmt: skip
        if value:
            terms += (field_name, value)
    if s.root_id and s.root_id != s.id:
        terms += ("root", s.root_id)
    if s.code:
        terms += ("commit", s.code.commit)
        if s.code.branch:
            terms += ("branch", s.code.branch)
    for tag in s.tags:
        terms += ("tag", tag)
    return terms
