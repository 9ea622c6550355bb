"""Runs one attempt: takes it, surrounds the user's function with all that makes it an execution, ends it.

Who can die when, and what then happens:

| dies | what is left | who mends it |
|---|---|---|
| worker before `start` | pending, in the outbox | the broker's redelivery, else the publisher |
| child after `start` | running, owned by this worker's term | the parent sees the child's end |
| parent | running, its lease runs out | the rescuer |
| child after the function's end, before `finish` | running | as above: the function runs again |
| registry away at `finish` | running, result in hand | tried again until it answers, see patience.py |
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import os
import resource
import secrets
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from celery.exceptions import Ignore, SoftTimeLimitExceeded

from executions import capture, codec, context
from executions.celery import endings, permits, reuse
from executions.celery.patience import PATIENCE_S, patiently
from executions.celery.publish import record_received
from executions.celery.reporter import RegistryReporter
from executions.celery.site import Place, Site, site_of
from executions.celery.verdict import ended_by
from executions.dispatch import HEADER
from executions.errors import ExecutionFailed, Reset, Terminated, TimedOut, Unavailable
from executions.flusher import flusher_every
from executions.policy import NO_POLICY, Policy
from executions.registry.cache import Source
from executions.registry.services import Permit
from executions.registry.transitions import Missing, Started
from executions.slots import Stop, token_of

#: Attribute of Celery's request under which the backend finds the attempt that it records the end of.
ATTEMPT = "_executions_attempt"

#: Seconds between two looks at the worker's lease, by what waits to start.
LEASE_LOOK_S = 0.02

_local = threading.local()


@dataclass
class Attempt:
    """One attempt in this process, from its start to the moment its end is recorded."""

    site: Site
    task: Any
    request: Any
    started: Started
    policy: Policy
    running: context.Running
    reporter: RegistryReporter
    writer: Any
    cpu_before: float
    permit: Permit | None = None
    pid: int = field(default_factory=os.getpid)
    #: What the function raised, as it raised it.
    error: BaseException | None = None
    #: The name of the call, where its output may be reused, and the execution whose output this one reuses.
    call: str = ""
    source: Source | None = None

    @property
    def ignores_result(self) -> bool:
        """Whether nobody wants the output: the call's word over the function's."""
        asked = getattr(self.request, "ignore_result", None)
        return bool(self.task.ignore_result if asked is None else asked)

    def measures(self) -> list[Any]:
        """Give the CPU time and the peak memory as fields of the record."""
        cpu = max(0, round((time.thread_time() - self.cpu_before) * 1_000_000))
        return ["cp", cpu or 1, "mm", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]

    def close(self) -> list[Any]:
        """Write out what is still gathered; give the fields that go with the end."""
        fields, tags, points = self.reporter.drain()
        if tags or points:
            report = partial(self.site.transitions.report, self.request.id, self.started.attempt)
            patiently(partial(report, tags=tags, points=points), "writing what was gathered")
        return [*fields, *self.measures()]


def run(task: Any, original: Callable[..., Any] | None, args: Any, kwargs: Any) -> Any:
    """Stand in for `Task.__call__`: run the function as an execution, or plainly where it is called directly."""
    request = task.request
    now = context.running()
    direct = request.id is None or request.called_directly or (now is not None and now.id == request.id)
    site = None if direct else site_of(task.app)
    if site is None:
        return _invoke(task, original, args, kwargs)
    attempt = begin(site, task, request)
    args, kwargs = _real_arguments(site, attempt.started, request, args, kwargs)
    return _surround(attempt, original, args, kwargs)


def _invoke(task: Any, original: Callable[..., Any] | None, args: Any, kwargs: Any) -> Any:
    return task.run(*args, **kwargs) if original is None else original(task, *args, **kwargs)


def begin(site: Site, task: Any, request: Any) -> Attempt:
    """Take the attempt, or leave: a duplicate, a cancelled one, one whose service is full or paused."""
    place = site.here
    _await_lease(place)
    if place.slots.draining:
        hand_back(site, task, request)
    index = place.own_slot if place.own_slot is not None else place.slots.take()
    mark = (request.headers or {}).get(HEADER) or getattr(request, HEADER, None) or {}
    named = mark.get("attempt")
    is_async = inspect.iscoroutinefunction(task.run)
    # Occupied before the attempt is taken: a stop that follows the start at once finds somebody there.
    token = given = token_of(request.id, named or 1)
    place.slots.occupy(index, token, pid=os.getpid(), thread=threading.get_ident(), is_async=is_async)
    try:
        permit = permits.ask(site, task, request, named)
        started = _take(site, task, request, named, place, permit)
    except BaseException:
        _release(place, index)
        raise
    finally:
        place.slots.begin(index, given)
    if started.attempt != (named or 1):
        token = token_of(request.id, started.attempt)
        place.slots.occupy(index, token, pid=os.getpid(), thread=threading.get_ident(), is_async=is_async)
    attempt = _prepare(site, task, request, started, place, index, token)
    permits.belong(attempt, permit)
    return attempt


def _await_lease(place: Place) -> None:
    """Start nothing without a right to it: after a pause, what starts now would be taken for lost."""
    deadline, waiting = time.monotonic() + PATIENCE_S, threading.Event()
    while not place.slots.may_start(time.monotonic_ns()) and time.monotonic() < deadline:
        waiting.wait(LEASE_LOOK_S)


def hand_back(site: Site, task: Any, request: Any) -> None:
    """Start nothing in a worker that drains: the message goes to all others, as if it had not come here."""
    if site.transitions.status_of(request.id) is None:
        record_received(site, task, request)
    with suppress(Unavailable):  # it is in the outbox: the publisher sends it
        site.dispatcher.republish(site.space, request.id)
    raise Ignore(f"execution {request.id} was handed back: this worker drains")


def _release(place: Place, index: int) -> None:
    place.slots.leave(index)
    if place.own_slot is None:
        place.slots.give_back(index)


def _take(site: Site, task: Any, request: Any, named: int | None, place: Place, permit: Permit | None) -> Started:
    outcome: Any = None
    service = site.services.policy(task.service) if getattr(task, "service", None) else NO_POLICY
    policy = Policy(execution_timeout=_celery_limits(task, request)[0])
    policy = site.policy(task.name, {}, service).over(policy)
    start = partial(
        site.transitions.start,
        request.id,
        named,
        worker=place.worker,
        pid=os.getpid(),
        pool=place.pool,
        service=(getattr(task, "service", None) or "", permit.version if permit else None),
        policy=policy,
        claim=f"{place.slots.incarnation}.{secrets.token_hex(4)}",
    )
    for _ in range(2):
        outcome = patiently(start, "taking an attempt")
        if isinstance(outcome, Started):
            return outcome
        if not isinstance(outcome, Missing):
            break
        record_received(site, task, request)
    if permit is not None:
        permits.give_up(site, task.service, permit, outcome, named or 1)
    endings.announce_refused(task, outcome)
    raise Ignore(f"execution {request.id} was not taken: {outcome}")


def _prepare(site: Site, task: Any, request: Any, started: Started, place: Place, index: int, token: int) -> Attempt:
    service = site.services.policy(task.service) if getattr(task, "service", None) else NO_POLICY
    policy = site.policy(task.name, started.options, service)
    reporter = RegistryReporter(
        request.id, started.attempt, site.transitions, flusher_every(site.settings.log_flush_s), started.state
    )
    running = context.Running(
        id=request.id,
        attempt=started.attempt,
        function=task.name,
        slots=place.slots,
        slot=index,
        token=token,
        reporter=reporter,
        root_id=request.root_id or request.id,
        soft_limit_error=SoftTimeLimitExceeded,
        extra={"retries": request.retries or 0, "root_id": request.root_id or request.id},
    )
    attempt = Attempt(
        site=site,
        task=task,
        request=request,
        started=started,
        policy=policy,
        running=running,
        reporter=reporter,
        writer=capture.LogWriter(request.id, started.attempt, site.logs, site.settings),
        cpu_before=time.thread_time(),
    )
    running.explain = lambda kind: _explain(attempt, kind)
    running.extra["ended"] = lambda: endings.error_in_hand(attempt)
    running.extra["hand_on"] = partial(endings.hand_on, attempt)
    if place.pool == "gevent":
        running.extra["greenlet"] = sys.modules["greenlet"].getcurrent()
    setattr(request, ATTEMPT, attempt)
    _limit(attempt, place)
    return attempt


def _limit(attempt: Attempt, place: Place) -> None:
    """Set the deadline. Prefork watches Celery's own limits itself; elsewhere we do."""
    hard = attempt.policy.execution_timeout
    soft = 0.0
    if hard is None and place.pool != "prefork":
        hard, soft = _celery_limits(attempt.task, attempt.request)
    attempt.running.limit_s = hard
    if hard or soft:
        now = time.monotonic_ns()
        place.slots.limit(
            attempt.running.slot,
            now + round(hard * 1e9) if hard else 0,
            now + round(soft * 1e9) if soft else 0,
        )


def _celery_limits(task: Any, request: Any) -> tuple[Any, Any]:
    """Give Celery's own limits of a call: the hard one and the soft one."""
    given = request.timelimit or (None, None)
    return given[0] or task.time_limit, given[1] or task.soft_time_limit or 0.0


def _explain(attempt: Attempt, kind: Stop) -> str:
    if kind is Stop.TIMEOUT:
        name = "execution_timeout" if attempt.policy.execution_timeout else "time_limit"
        return f"{name} of {attempt.running.limit_s:g} s"
    if kind is Stop.RESET:
        return f"version {attempt.running.extra.get('service_version')} of {attempt.task.service!r} was replaced"
    return endings.stop_cause(attempt.site, attempt.request.id)


def _real_arguments(site: Site, started: Started, request: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
    if not started.payload or request.is_eager:
        return args, kwargs
    args, kwargs = codec.decode(site.payloads.get(started.payload))[:2]
    # The tracer holds these very objects: hooks, `retry()` and `replace()` see the true arguments too.
    if isinstance(request.args, list):
        request.args[:] = args
    else:
        request.args = args
    request.kwargs.update(kwargs)
    return args, kwargs


def _surround(attempt: Attempt, original: Callable[..., Any] | None, args: Any, kwargs: Any) -> Any:
    """Run the function inside its context and turn each way out into what Celery and the registry expect."""
    place, slot = attempt.site.here, attempt.running.slot
    token = context.enter(attempt.running)
    capturing = capture.begin(attempt.writer)
    place.running[slot] = attempt.running
    try:
        try:
            result = _call(attempt, original, args, kwargs)
        finally:
            _leave_function(attempt)
    except BaseException as error:
        _leave_function(attempt)
        return ended_by(attempt, error)
    finally:
        capture.end(capturing)
        context.leave(token)
        _release(place, slot)
        permits.leave(attempt)
    if attempt.running.stopped:
        # It caught the stop and returned: it was stopped all the same.
        return ended_by(attempt, attempt.running.stop_error(attempt.running.stopped))
    return result


def _leave_function(attempt: Attempt) -> None:
    """The user's code is left: from here on nothing is raised in this thread, not even what is on its way."""
    if os.getpid() != attempt.pid:
        # A copy that the function forked came back from it: the execution is the original's alone.
        os._exit(0)
    while True:
        try:
            attempt.site.here.quieten(attempt.running)
            return
        except (context.ForcedStop, Reset, Terminated, TimedOut, SoftTimeLimitExceeded):
            continue


def _call(attempt: Attempt, original: Callable[..., Any] | None, args: Any, kwargs: Any) -> Any:
    if attempt.policy.caches:
        known, value = reuse.recall(attempt, args, kwargs)
        if known:
            return value
    result = _invoke(attempt.task, original, args, kwargs)
    if inspect.iscoroutine(result):
        return _run_coroutine(attempt, result)
    return result


def _run_coroutine(attempt: Attempt, coroutine: Any) -> Any:
    """Run a coroutine on this thread's own event loop; a stop cancels it at its next await."""
    runner: asyncio.Runner | None = getattr(_local, "runner", None)
    if runner is None or _local.pid != os.getpid():
        runner = _local.runner = asyncio.Runner()
        _local.pid = os.getpid()
    loop = runner.get_loop()
    task: asyncio.Task[Any] = loop.create_task(coroutine, context=contextvars.copy_context())
    attempt.running.extra["cancel"] = lambda: loop.call_soon_threadsafe(task.cancel)
    if attempt.running.cells[attempt.running.stop_cell]:
        task.cancel()
    try:
        return loop.run_until_complete(task)
    except asyncio.CancelledError:
        attempt.running.check()
        raise ExecutionFailed("CancelledError", "the coroutine was cancelled by its own code") from None
    finally:
        attempt.running.extra.pop("cancel", None)
