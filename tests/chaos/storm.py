"""Carries out a plan, waits until all is quiet again, and says what became of the promises."""

from __future__ import annotations

import gc
import importlib
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from celery import chain, chord, group

from executions import ExecutionsError, NotFound, Unavailable
from executions.clock import SYSTEM_CLOCK, to_datetime
from executions.execution import Execution
from executions.registry import keys
from tests.chaos import ledger
from tests.chaos.fleet import LEASE_S, Fleet, Member
from tests.chaos.plan import WORK, Step
from workers.local.waiting import wait_until

#: Seconds in which a fleet that comes to rest must have ended something: lost messages are sent again after twenty.
QUIET_S = 90.0
#: Seconds that it may take in all, as it has to catch up with what the storm kept it from.
REST_S = 900.0
CANARY_S = 60.0

#: How far a worker's clock jumps at most, either way: further than any retention.
CLOCK_JUMP_S = 30 * 86400


@dataclass
class Outcome:
    """What a run showed."""

    accepted: int = 0
    refused: int = 0
    done: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    overlaps: list[str] = field(default_factory=list)
    lines: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    quiet_after_s: float = 0.0


class Storm:
    """One run."""

    def __init__(self, fleet: Fleet, say: Callable[[str], None]) -> None:
        self.fleet = fleet
        self.say = say
        self.app: Any = importlib.import_module("tests.chaos.app")
        self.client = self.app.client
        self.ids: list[str] = []
        self.outcome = Outcome()
        self._later: list[tuple[float, Callable[[], Any]]] = []
        self._began = 0.0
        #: The fewest executions that were on their way since the storm was over, and until when fewer must be.
        self._least: int | None = None
        self._patient_until = 0.0
        self._pause = threading.Event()

    def run(self, plan: list[Step]) -> Outcome:
        """Do all of it."""
        self.fleet.wait_ready(self.client)
        self._began = time.monotonic()
        for step in plan:
            self._wait_until(step.at_s)
            self.do(step)
        self._settle()
        self._judge()
        gc.collect()  # Celery's results say goodbye to the server, which is still there
        return self.outcome

    def do(self, step: Step) -> None:
        """Do one of it; a server that is away is no failure."""
        try:
            getattr(self, f"_{step.what}", self._submit)(step)
            self.outcome.done[step.what] += 1
        except (ExecutionsError, OSError, ConnectionError) as error:
            self.outcome.refused += 1
            self.say(f"{step.at_s:6.1f}  {step.what}: {type(error).__name__}: {error}")
        except Exception as error:
            if not _is_away(error):
                raise
            self.outcome.refused += 1

    # -- time --

    def _now(self) -> float:
        return time.monotonic() - self._began

    def _wait_until(self, at_s: float) -> None:
        while (now := self._now()) < at_s:
            self._catch_up()
            self._pause.wait(min(0.1, at_s - now))

    def _catch_up(self) -> None:
        """Do what was put off until now."""
        for due in [one for one in self._later if one[0] <= self._now()]:
            self._later.remove(due)
            due[1]()

    def _in(self, seconds: float, what: Callable[[], Any]) -> None:
        self._later.append((self._now() + seconds, what))

    # -- faults --

    def _member(self, step: Step, *, pool: str = "") -> Member | None:
        fit = [m for m in self.fleet.members if m.identity and not m.paused and (not pool or m.pool == pool)]
        return fit[int(step.which * len(fit))] if fit else None

    def _tell(self, step: Step, text: str) -> None:
        self.say(f"{step.at_s:6.1f}  {step.what}: {text}")

    def _kill_child(self, step: Step) -> None:
        member = self._member(step, pool="prefork")
        children = self.fleet.children(member) if member else []
        if member and children:
            child = children[int(step.much * len(children))]
            self._tell(step, f"{child.pid} of {member.name}")
            child.signal(signal.SIGKILL)

    def _kill_worker(self, step: Step, member: Member | None = None) -> None:
        member = member or self._member(step)
        if member:
            self._tell(step, member.name)
            self.fleet.kill(member)
            self._in(0.5 + 2 * step.much, self.fleet.mend)

    def _kill_leader(self, step: Step) -> None:
        leading = self._leading()
        found = [m for m in self.fleet.members if m.worker == leading and m.identity]
        if found:
            self._kill_worker(step, found[0])

    def _leading(self) -> str:
        space = self.client._parts.space
        term = space.client.get(keys.leader(space.namespace))
        return term.decode().rpartition("#")[0] if term else ""

    def _pause_worker(self, step: Step) -> None:
        member = self._member(step)
        if member:
            seconds = LEASE_S * (0.3 + 2 * step.much)
            self._tell(step, f"{member.name} for {seconds:.1f} s")
            self.fleet.pause(member, True)
            self._in(seconds, lambda: self.fleet.pause(member, False))

    def _restart_server(self, step: Step) -> None:
        servers = self.fleet.backend.servers
        at = int(step.much * len(servers))
        hard = step.which < 0.5
        self._tell(step, f"{type(servers[at]).__name__} {at} {'killed' if hard else 'stopped'}")
        servers[at].halt(hard=hard)
        self._pause.wait(0.2 + 3 * step.which)
        servers[at].start()

    def _cut(self, step: Step) -> None:
        member = self._member(step)
        if member:
            self._tell(step, member.name)
            for proxy in member.proxies:
                proxy.cut()

    def _cut_within(self, step: Step) -> None:
        member = self._member(step)
        if member:
            after = 1 + int(step.much * 3000)
            self._tell(step, f"{member.name} after {after} bytes")
            for proxy in member.proxies:
                proxy.cut(after)

    def _silence(self, step: Step) -> None:
        member = self._member(step)
        if member:
            seconds = LEASE_S * (0.3 + 3 * step.much)
            self._tell(step, f"{member.name} for {seconds:.1f} s")
            for proxy in member.proxies:
                proxy.silence(True)
            self._in(seconds, lambda: [proxy.silence(False) for proxy in member.proxies])

    def _slow(self, step: Step) -> None:
        member = self._member(step)
        if member:
            self._tell(step, member.name)
            for proxy in member.proxies:
                proxy.slow(0.05 + 0.2 * step.much)
            self._in(3.0, lambda: [proxy.heal() for proxy in member.proxies])

    def _move_clock(self, step: Step) -> None:
        member = self._member(step)
        if member:
            ahead_s = round((step.much - 0.5) * 2 * CLOCK_JUMP_S)
            self._tell(step, f"{member.name} by {ahead_s / 3600:+.0f} h")
            member.clock.write_text(str(ahead_s))
            self._in(LEASE_S * 3, lambda: member.clock.unlink(missing_ok=True))

    def _roll(self, step: Step) -> None:
        member = self._member(step)
        if member and member.identity:
            self._tell(step, member.name)
            member.identity.signal(signal.SIGTERM)
            self._in(2.0 + 8 * step.much, self.fleet.mend)

    def _rerun(self, step: Step) -> None:
        execution = self._some(step)
        if execution and execution.is_done:
            execution.rerun()

    def _terminate(self, step: Step) -> None:
        execution = self._some(step)
        if execution and not execution.is_done:
            execution.terminate(cause="chaos", force=step.much < 0.3)

    def _some(self, step: Step) -> Execution | None:
        recent = self.ids[-60:]
        return self._find(recent[int(step.which * len(recent))]) if recent else None

    def _find(self, execution_id: str) -> Execution | None:
        try:
            found: Execution = self.client.executions.get(execution_id)
        except NotFound:
            return None
        return found

    # -- work --

    def _submit(self, step: Step) -> None:
        assert step.what in WORK, step.what
        seconds, app = 0.1 + 3 * step.much**2, self.app
        tick = round(seconds, 2)
        match step.what:
            case "press":
                self._accept(self.client.services.get("press").execute("press", seconds=tick).id)
            case "eta":
                due = to_datetime(round((SYSTEM_CLOCK.now() + 5 * step.which) * 1e6))
                self._put(app.work, tick, eta=due)
            case "expiring":
                self._put(app.work, tick, expires=3600.0)
            case "late":
                self._put(app.late, 2 * tick)
            case "shaky":
                self._put(app.shaky, tick, int(step.which * 4))
            case "hungry":
                self._put(app.hungry, queue="hungry")
            case "chain" | "group" | "chord":
                self._canvas(step.what, tick)
            case _:
                self._put(getattr(app, step.what), tick)

    def _canvas(self, what: str, seconds: float) -> None:
        parts = [self.app.work.si(seconds / 2) for _ in range(3)]
        if what == "chain":
            last = chain(*parts).apply_async()
            while last is not None:
                self._accept(last.id)
                last = last.parent
        else:
            made = group(parts).apply_async() if what == "group" else chord(parts, self.app.work.si(0.1)).apply_async()
            members = made.results if what == "group" else made.parent.results
            self._accept(*(one.id for one in members), *([made.id] if what == "chord" else []))

    def _put(self, task: Any, *args: Any, queue: str = "chaos", **options: Any) -> None:
        self._accept(self.client.submit(task, *args, queue=queue, **options).id)

    def _accept(self, *ids: str) -> None:
        self.ids += ids

    # -- afterwards --

    def _settle(self) -> None:
        self.say("the storm is over; waiting for quiet")
        for _, what in self._later:
            what()
        began = time.monotonic()
        self.fleet.heal()
        self._least, self._patient_until = None, began + QUIET_S
        wait_until(lambda: self._is_quiet() or time.monotonic() > self._patient_until, REST_S)
        self.outcome.quiet_after_s = time.monotonic() - began
        moving = [f"{one.id} {one.function} {one.status}/{one.reason}" for one in self._moving()]
        if moving:
            self.outcome.broken.append(f"not quiet, and nothing ended for {QUIET_S:.0f} s: {', '.join(moving[:5])}")
        self._canaries()

    def _is_quiet(self) -> bool:
        self.fleet.mend()
        self._pause.wait(0.5)
        try:
            moving = self.client.executions.count("status:pending,running")
        except Unavailable:
            return False
        if self._least is None or moving < self._least:
            self._least, self._patient_until = moving, time.monotonic() + QUIET_S
        return moving == 0

    def _moving(self) -> list[Execution]:
        return list(self.client.executions.list("status:pending,running"))

    def _canaries(self) -> None:
        """Have every slot of every worker do something at the same time: is each there again?"""
        sent = {
            member.name: self.client.submit(self.app.canary, queue=f"canary.{member.name}").id
            for member in self.fleet.members
        }
        wait_until(lambda: self._all_done(list(sent.values())), CANARY_S)
        for name, one in sent.items():
            found = self._find(one)
            if found is None or not found.is_successful:
                self.outcome.broken.append(f"{name}: no capacity, its canary is {found.status if found else 'lost'}")
                self.fleet.ask_where(name)

    def _all_done(self, ids: list[str]) -> bool:
        self.fleet.mend()
        return all((one := self._find(i)) and one.is_done for i in ids)

    def _judge(self) -> None:
        report = self.client.invariants()
        self.outcome.broken += [f"{one.id}: {one.code}: {one.found}" for one in report.findings]
        known = []
        for one in self.ids:
            execution = self._find(one)
            if execution is None:
                self.outcome.broken.append(f"{one}: lost: it was accepted, and is not on record")
                continue
            known.append(execution)
            self.outcome.statuses[f"{execution.status}/{execution.reason}".rstrip("/")] += 1
            self.outcome.attempts += execution.attempt
            if not execution.is_done:
                words = f"{execution.status}/{execution.reason}, attempt {execution.attempt}"
                self.outcome.broken.append(f"{one}: stuck: {execution.function} is {words} on {execution.worker}")
        verdict = ledger.judge(ledger.read(self.fleet.folder / "ledger"), known)
        self.outcome.accepted = len(self.ids)
        self.outcome.broken += verdict.broken
        self.outcome.overlaps += verdict.overlaps
        self.outcome.lines = verdict.lines


def _is_away(error: Exception) -> bool:
    """Tell whether an error is Celery's or the driver's word for a server that is away."""
    module = type(error).__module__
    return module.startswith(("redis", "kombu")) or "OperationalError" in type(error).__name__


def show(outcome: Outcome, folder: Path) -> None:
    """Print what a person wants to know."""
    lines = [
        f"accepted {outcome.accepted} executions, {outcome.attempts} attempts, {outcome.lines} ledger lines; "
        f"{outcome.refused} steps found the server away",
        "ended: " + ", ".join(f"{count} {status}" for status, count in outcome.statuses.most_common()),
        "did: " + ", ".join(f"{count} {what}" for what, count in outcome.done.most_common()),
        f"quiet {outcome.quiet_after_s:.0f} s after the storm; {len(outcome.overlaps)} attempts of workers whose "
        "term was over went on after that",
        *outcome.overlaps[:10],
        f"{len(outcome.broken)} promises broken" + (f"; logs and ledger are in {folder}" if outcome.broken else ""),
        *outcome.broken[:40],
    ]
    sys.stdout.write("\n".join(lines) + "\n")
