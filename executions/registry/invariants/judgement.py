"""What is wrong with one execution: a pure look at its picture."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field

from executions.registry.invariants.findings import Finding
from executions.registry.invariants.pictures import ATTEMPTS_SEEN, STATUS_TERMS, Picture, terms_of_record
from executions.registry.invariants.statuslog import judge_log, read_entry
from executions.states import Reason, Status

#: Seconds that whoever has to act may take beyond the lease or the grace period, before it is a finding.
SLACK_S = 30.0

_DURATION_SCALE = 1024


@dataclass(frozen=True)
class Moment:
    """The fleet and the clock, when pictures were taken."""

    now_us: int
    lease_s: float
    grace_s: float
    #: The terms that are known -> when their lease ends (seconds); zero where the rescuer is at it.
    terms: Mapping[str, float] = field(default_factory=dict)
    #: The workers of these terms.
    workers: Set[str] = frozenset()

    def past(self, us: int, seconds: float) -> bool:
        """Tell whether more than so many seconds have gone by since a time."""
        return us + (seconds + SLACK_S) * 1_000_000 < self.now_us


def judge(picture: Picture, moment: Moment) -> list[Finding]:
    """Say what is wrong with an execution."""
    try:
        return [
            Finding(code, picture.id, found, picture.shard, picture.number, terms)
            for code, found, terms in _all(picture, moment)
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        found = f"its record cannot be read: {error or type(error).__name__}"
        return [Finding("bad-record", picture.id, found, picture.shard, picture.number)]


def expected_scores(picture: Picture) -> dict[str, float | None]:
    """Give the places that an execution should have among the times."""
    raw = picture.raw
    started, finished = raw.get("sd"), raw.get("fi") if Status(raw["st"]).is_terminal else None
    found: dict[str, float | None] = {
        "started": float(started) if started else None,
        "finished": float(finished) if finished else None,
        "duration": None,
    }
    if started and finished:
        span = int(finished) - int(started)
        found["duration"] = float(span * _DURATION_SCALE + picture.number % _DURATION_SCALE)
    return found


def wrong_terms(picture: Picture) -> dict[str, bool]:
    """Give the terms whose bit is wrong, with what it should be."""
    wanted = terms_of_record(picture.id, picture.raw)
    asked = wanted.union(STATUS_TERMS)
    return {term: term in wanted for term in sorted(asked) if (term in picture.terms) != (term in wanted)}


_Found = Iterator[tuple[str, str, tuple[str, ...]]]


def _all(picture: Picture, moment: Moment) -> _Found:
    raw = picture.raw
    status, reason = Status(raw["st"]), Reason(raw.get("rs", ""))
    wrong = judge_log(picture.log, picture.length, (status, reason, picture.attempt))
    if wrong:
        yield "broken-log", wrong, ()
    last = picture.attempt if status is Status.PENDING else picture.attempt - 1
    lost = [k for k in range(max(1, last + 1 - ATTEMPTS_SEEN), last + 1) if k not in picture.archived]
    if lost:
        yield "lost-attempt", f"nothing is kept of attempt {lost[0]} of {picture.attempt}", ()
    terms = wrong_terms(picture)
    if terms:
        named = ", ".join(f"{term} is {'missing' if wanted else 'set'}" for term, wanted in terms.items())
        yield "wrong-index", named, tuple(terms)
    for name, score in expected_scores(picture).items():
        if picture.scores.get(name) != score:
            yield "wrong-times", f"{name} is {_us(picture.scores.get(name))}, should be {_us(score)}", ()
    yield from _life(picture, status)
    yield from _stop(picture, status)
    if status is Status.PENDING:
        yield from _pending(picture, reason, moment)
    elif picture.in_outbox:
        yield "stale-outbox", f"it is {status}, and in the outbox", ()
    if status is Status.RUNNING:
        yield from _running(picture, reason, moment)


def _life(picture: Picture, status: Status) -> _Found:
    if status.is_terminal and picture.life_s < 0:
        yield "wrong-life", "it has ended, and its record is kept for ever", ()
    elif not status.is_terminal and picture.life_s >= 0:
        yield "wrong-life", f"it is {status}, and its record vanishes in {picture.life_s} s", ()


def _stop(picture: Picture, status: Status) -> _Found:
    if picture.stop:
        attempt = json.loads(picture.stop)["attempt"]
        if status is not Status.RUNNING or attempt != picture.attempt:
            yield "stale-stop", f"a stop of attempt {attempt} is kept, it is {status}, attempt {picture.attempt}", ()
    elif status is Status.RUNNING and picture.raw.get("tt"):
        yield "no-stop", "somebody asked for it to stop, and no worker will hear of it", ()


def _pending(picture: Picture, reason: Reason, moment: Moment) -> _Found:
    raw, since_us, due_us = picture.raw, _since_us(picture), picture.due_us
    if due_us is not None and moment.past(round(due_us), 0):
        yield "overdue", "its time has come, and nobody has sent its message", ()
    if reason is Reason.WAITING and picture.in_outbox:
        yield "stale-outbox", "it waits for another, and is in the outbox", ()
    waits = picture.in_outbox or picture.due_us is not None
    if reason is not Reason.WAITING and not waits and moment.past(since_us, 0):
        yield "not-in-outbox", f"pending/{reason}, and nobody will send its message again", ()
    if raw.get("ex") and moment.past(int(raw["ex"]), 0):
        yield "past-expiry", "its time to start is over, and it still waits", ()


def _running(picture: Picture, reason: Reason, moment: Moment) -> _Found:
    raw, owner = picture.raw, owner_of(picture)
    if not _is_owned(raw, owner, moment):
        found = f"attempt {picture.attempt} runs on {raw.get('wk') or 'no worker'}, which has lost its right to it"
        yield "no-owner", found, (owner,)
    limit_us = _limit_us(raw)
    if limit_us and moment.past(limit_us, moment.grace_s):
        yield "past-deadline", "it runs longer than its limit and the grace period allow", ()
    if reason is Reason.TERMINATING and raw.get("tt"):
        grace_s = json.loads(raw["tt"]).get("grace_s")
        if moment.past(_since_us(picture), moment.grace_s if grace_s is None else float(grace_s)):
            yield "stuck-stopping", "it was asked to stop, and the grace period is long over", ()


def owner_of(picture: Picture) -> str:
    """Give the term that an execution runs under; nothing for one that was started outside a worker."""
    incarnation = picture.raw.get("ck", "").rpartition(".")[0]
    return f"{picture.raw.get('wk', '')}#{incarnation}" if incarnation else ""


def _is_owned(raw: Mapping[str, str], owner: str, moment: Moment) -> bool:
    """Tell whether somebody has the right to it; what runs outside a worker has no owner."""
    if raw.get("po") == "eager" or not moment.past(int(raw["sd"]), moment.lease_s):
        return True
    if not owner:
        return raw.get("wk") in moment.workers
    ends = moment.terms.get(owner)
    return ends is not None and (ends <= 0 or not moment.past(round(ends * 1_000_000), 0))


def _limit_us(raw: Mapping[str, str]) -> int:
    """Give the time by which an attempt has to end, where that is on its record."""
    if raw.get("dl"):
        return int(raw["dl"])
    limit = (json.loads(raw["op"]) if raw.get("op") else {}).get("execution_timeout")
    return int(raw["sd"]) + int(limit) * 1_000_000 if limit else 0


def _since_us(picture: Picture) -> int:
    """Give the time of the last entry of the status log."""
    entry = picture.log.get(picture.length)
    return read_entry(entry).at_us if entry else 0


def _us(score: float | None) -> str:
    return "missing" if score is None else f"{score:.0f}"
