"""`client.invariants()`: whether a live registry holds what the system promises, and what was mended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from executions import parking
from executions.clock import SYSTEM_CLOCK
from executions.errors import NotFound
from executions.parts import Parts
from executions.registry.invariants import CODES, Finding, Inspection, Mending, Progress
from executions.registry.keys import shard_keys
from executions.registry.pruning import Old, Pruning
from executions.registry.queries import Queries
from executions.registry.transitions import Ended, Opened, expired
from executions.states import Reason

__all__ = ["Finding", "Report", "check"]


@dataclass(frozen=True)
class Report:
    """What one look at everything found."""

    #: Executions on record, and how many of them have ended and have not: `submitted = ended + live`.
    submitted: int
    ended: int
    live: int
    #: What is wrong, at most a thousand of each code; `counts` has them all.
    findings: tuple[Finding, ...]
    counts: Mapping[str, int]
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether every promise holds; what was mended just now did not."""
        return not self.counts

    @property
    def repaired(self) -> int:
        """How many findings were mended."""
        return sum(finding.repaired for finding in self.findings)


def check(parts: Parts, *, repair: bool = False, progress: Progress | None = None) -> Report:
    """Look at everything, and mend what can be mended where that is asked for."""
    began = SYSTEM_CLOCK.monotonic()
    inspection = Inspection(parts.space, progress)
    findings = inspection.look()
    if repair:
        findings = Repair(parts).all(findings)
    totals = inspection.totals
    return Report(
        submitted=totals.submitted,
        ended=totals.ended,
        live=totals.live,
        findings=tuple(findings),
        counts=dict(inspection.counts),
        seconds=SYSTEM_CLOCK.monotonic() - began,
    )


class Repair:
    """Mends findings by the verbs that everybody else uses. Each checks once more before it writes."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._mending = Mending(parts.space)
        self._queries = Queries(parts.space)
        self._told: set[str] = set()

    def all(self, findings: list[Finding]) -> list[Finding]:
        """Mend what can be mended; the counts last, after the index that they are of."""
        mended = [replace(one, repaired=bool(CODES[one.code]) and self._one(one)) for one in findings]
        terms = Counter((one.shard, term) for one in mended for term in one.terms if one.repaired and ":" in term)
        for shard, term in terms:
            if term.partition(":")[0] not in ("tag", "parent", "root", "name", "has"):
                self._mending.count(shard, term)
        return mended

    def _one(self, finding: Finding) -> bool:
        parts, one = self._parts, finding.id
        match finding.code:
            case "wrong-count":
                return True  # counted again with the others
            case "no-record" | "stray-member":
                return self._forget(finding)
            case "stray-index" if finding.id.startswith(f"{finding.terms[0]}/"):
                return self._mending.forgotten_bit(finding)
            case "missing-value" | "stray-value":
                return self._mending.values(finding)
            case "no-owner":
                return self._free(finding.terms[0])
            case "past-expiry":
                return isinstance(parts.transitions.settle(one, expired("expired before a worker took it")), Ended)
            case "not-in-outbox" | "waits-for-nobody":
                reason = Reason.QUEUED if finding.code == "waits-for-nobody" else self._reason(one)
                return isinstance(parts.transitions.park(one, reason=reason, publish=True), Opened)
            case "no-stop":
                return self._stop_again(one)
            case "stale-slot":
                return parts.services.reclaim(finding.terms[0]) >= 0
            case "stale-parked":
                parking.forget(parts, one)
                parts.services.unpark(finding.terms[0], [one])
                return True
        return self._mending.around(finding)

    def _forget(self, finding: Finding) -> bool:
        """Let go of a number that nothing has; the index of its terms is swept by the pruner."""
        pruning = Pruning(self._parts.space)
        keys = shard_keys(self._parts.space.namespace, finding.shard)
        known = finding.id if finding.code == "no-record" and not finding.id.startswith("number ") else ""
        return pruning.prune(keys, [Old(finding.number or 0, known)]).missing > 0

    def _free(self, owner: str) -> bool:
        """Declare the term over that it ran under: the rescuer then frees it. What has none, upkeep finds itself."""
        if owner and owner not in self._told:
            self._told.add(owner)
            self._parts.workers.give_up(owner)
        return bool(owner)

    def _reason(self, execution_id: str) -> Reason:
        return self._queries.get(execution_id).reason

    def _stop_again(self, execution_id: str) -> bool:
        try:
            request = self._queries.get(execution_id).stop_request
        except NotFound:
            return False
        if request is None:
            return False
        self._parts.transitions.terminate(
            execution_id,
            principal=request.principal,
            cause=request.cause,
            mode=request.mode,
            grace_s=request.grace_s,
            at_us=round(SYSTEM_CLOCK.now() * 1_000_000),
        )
        return True
