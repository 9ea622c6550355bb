"""What an `Execution` can do: each verb asks the registry and gives a fresh picture."""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from executions import codec, context, parking
from executions.client.downloads import Downloader
from executions.client.editing import Editor
from executions.client.submit import Submitter
from executions.clock import SYSTEM_CLOCK
from executions.dispatch import envelope_of
from executions.errors import Conflict, ExecutionFailed, InvalidInput, Terminated, TimedOut, Unavailable, WaitTimeout
from executions.execution import Execution
from executions.ids import named_id
from executions.logs import LogView
from executions.parts import Parts
from executions.registry.changes import Watcher
from executions.registry.queries import Queries
from executions.registry.transitions import Asked, Cancelled, Found, Opened, found_or_raise
from executions.states import Reason, Status

#: Seconds after which a waiter reads the record although nothing was pushed.
SAFETY_POLL_S = 5.0


class ClientVerbs:
    """Implements `execution.Verbs`."""

    def __init__(self, parts: Parts, watcher: Watcher, submitter: Submitter, queries: Callable[[], Queries]) -> None:
        self._parts = parts
        self._watcher = watcher
        self._submitter = submitter
        self._queries = queries
        self._editor = Editor(parts)

    def bind(self, execution: Execution) -> Execution:
        """Give an execution its verbs."""
        return replace(execution, _verbs=self)

    def get(self, execution_id: str) -> Execution:
        return self._queries().get(execution_id)

    def wait(self, execution: Execution, timeout: float | None, poll_interval: float | None, until: str) -> Execution:
        if until not in ("done", "change", "started"):
            raise InvalidInput(f"until must be 'done', 'change' or 'started', not {until!r}")
        is_over = _is_over(execution, until)
        deadline = SYSTEM_CLOCK.monotonic() + timeout if timeout else None
        with self._watcher.watching(execution.id) as signal:
            while True:
                seen = signal.count
                now = self.get(execution.id)
                if is_over(now):
                    return now
                left = None if deadline is None else deadline - SYSTEM_CLOCK.monotonic()
                if left is not None and left <= 0:
                    raise WaitTimeout(
                        f"waited {timeout:g} s for execution {now.id}, which is {now.status}"
                        f"{f' ({now.reason})' if now.reason else ''} and goes on"
                    )
                pause = poll_interval or SAFETY_POLL_S
                signal.wait(seen, pause if left is None else min(pause, left))

    def result_of(self, execution: Execution) -> Any:
        raw = execution._raw
        if execution.is_done and not execution.is_successful:
            raise self._error_of(execution)
        if execution.has_output and not raw.keys() & {"out", "or"}:
            # It came out of a list, which leaves outputs on the server.
            raw = self.get(execution.id)._raw
        if "or" in raw:
            return codec.decode(self._parts.payloads.get(raw["or"]))
        if "out" in raw:
            return codec.decode(raw["out"])
        return None

    def _error_of(self, execution: Execution) -> BaseException:
        if execution.status is Status.TERMINATED:
            return Terminated(execution.message or f"execution {execution.id} was terminated")
        if execution.reason is Reason.TIMEOUT:
            return TimedOut(execution.message)
        return revive(json.loads(execution._raw.get("er") or "{}"), execution._raw.get("tb"))

    def terminate_one(self, execution: Execution, cause: str, force: bool, grace: float | None) -> Execution:
        self.terminate(execution.id, cause=cause, force=force, grace=grace)
        return self.get(execution.id)

    def terminate(
        self,
        execution_id: str,
        *,
        cause: str,
        force: bool = False,
        grace: float | None = None,
        reason: Reason = Reason.CANCELLED,
        bulk: str = "",
    ) -> Any:
        """Ask for a stop; tell the worker at once where it runs."""
        if grace is not None and (isinstance(grace, bool) or not isinstance(grace, int | float) or grace < 0):
            raise InvalidInput(f"grace must be a number of seconds, not {grace!r}")
        mode = "force" if force else "checkpoint" if grace is None else "grace"
        outcome = self._parts.transitions.terminate(
            execution_id,
            principal=self._parts.settings.principal,
            cause=cause,
            mode=mode,
            grace_s=grace,
            at_us=round(SYSTEM_CLOCK.now() * 1_000_000),
            reason=reason,
            bulk=bulk,
        )
        if isinstance(outcome, Asked):
            self._parts.workers.push_stop(outcome.worker, execution_id, outcome.attempt, mode, grace)
        elif isinstance(outcome, Cancelled):
            parking.forget(self._parts, execution_id)
        return found_or_raise(outcome, execution_id)

    def rerun_one(self, execution: Execution, sync: bool, cause: str) -> Execution:
        outcome = found_or_raise(
            self._parts.transitions.rerun(execution.id, principal=self._parts.settings.principal, message=cause),
            execution.id,
        )
        if isinstance(outcome, Found):
            raise Conflict(f"execution {execution.id} is {outcome.status} and cannot be rerun before it has ended")
        self._parts.dispatcher.republish(self._parts.space, execution.id)
        fresh = replace(self.get(execution.id), awaits=outcome.attempt)
        return fresh.wait() if sync else fresh

    def rerun_for(self, execution_id: str, bulk: str, message: str) -> Any:
        """Run one once more for a bulk: once only, and whatever its message costs."""
        outcome = self._parts.transitions.rerun(
            execution_id, principal=self._parts.settings.principal, message=message, bulk=bulk
        )
        if isinstance(outcome, Opened):
            # A message that cannot be sent now is in the outbox, and upkeep sends it.
            with contextlib.suppress(Unavailable):
                self._parts.dispatcher.republish(self._parts.space, execution_id)
        return found_or_raise(outcome, execution_id)

    def relaunch_for(self, execution_id: str, bulk: str) -> Any:
        """Start a new one for a bulk: it has an id that follows from both, so there is only one."""
        self.relaunch_one(self.get(execution_id), {}, id=named_id(execution_id, bulk))
        return self.note(execution_id, bulk)

    def note(self, execution_id: str, bulk: str, tags: Sequence[str] = ()) -> Any:
        """Note that a bulk has acted on one, and add tags."""
        outcome = self._parts.transitions.annotate(execution_id, None, tags=tags, bulk=bulk)
        return found_or_raise(outcome, execution_id)

    def relaunch_one(self, execution: Execution, inputs: dict[str, Any], **further: Any) -> Execution:
        full = self.get(execution.id)
        envelope = envelope_of(full.id, full._raw)
        args, kwargs = envelope.args, dict(envelope.kwargs)
        if envelope.payload:
            args, kwargs = codec.decode(self._parts.payloads.get(envelope.payload))[:2]
        options = json.loads(full._raw["op"]) if full._raw.get("op") else {}
        options |= {
            "queue": full.queue, "pipeline": full.pipeline, "stage": full.stage, "service": full.service,
            "tags": full.tags, "reference": full.id, **further,
        }  # fmt: skip
        args, kwargs = self._edited(full.function, args, kwargs, inputs)
        # Arguments may have the names of options, so they go apart.
        return self._submitter.resubmit(full.function, args, kwargs, options)

    def _edited(self, function: str, args: Any, kwargs: dict[str, Any], inputs: dict[str, Any]) -> tuple[Any, Any]:
        """Change some arguments by name; by position too, where it is known which parameter has which."""
        known = self._parts.function(function) if inputs else None
        if known is None or known.parameters is None:
            return args, {**kwargs, **inputs}
        return known.parameters.edited(function, args, kwargs, inputs)

    def logs_of(self, execution: Execution, follow: bool, level: str | None, attempt: int | None) -> LogView:
        return LogView(self._parts.logs, execution.id, follow=follow, level=level, attempt=attempt)

    def events_of(self, execution: Execution, follow: bool) -> Iterator[dict[str, Any]]:
        shown = 0
        with self._watcher.watching(execution.id) as signal:
            while True:
                seen = signal.count
                now = self.get(execution.id)
                yield from now.status_log[shown:]
                shown = len(now.status_log)
                if now.is_done or not follow:
                    return
                signal.wait(seen, SAFETY_POLL_S)

    def children_of(self, execution: Execution) -> list[Execution]:
        return list(self._queries().iterate(f'parent:"{execution.id}"', sort="created"))

    def metrics_of(self, execution: Execution) -> dict[str, list[dict[str, Any]]]:
        return self._queries().metrics(execution.id)

    def download_one(self, execution: Execution, folder: str | Path, recursive: bool) -> Path:
        return Downloader(self._parts, self._queries()).download(self.get(execution.id), folder, recursive)

    def url_of(self, execution: Execution) -> str:
        return self._parts.settings.console.rstrip("/") + execution.path

    def update_one(self, execution: Execution, **changes: Any) -> Execution:
        self._editor.update(execution, changes)
        return self.get(execution.id)

    def note_one(self, execution: Execution, text: str) -> Execution:
        self._editor.note(execution.id, text)
        return self.get(execution.id)

    def report_one(self, execution: Execution, progress: float | None, message: str | None) -> Execution:
        percent = None if progress is None else context.check_percent(progress)
        now = self.get(execution.id)
        fields = [part for code, value in (("pc", percent), ("pm", message)) if value is not None
                  for part in (code, value)]  # fmt: skip
        outcome: Any = Found(now.status, now.reason, now.attempt)
        if now.status is Status.RUNNING:
            outcome = self._parts.transitions.annotate(now.id, now.attempt, fields=fields)
        if isinstance(found_or_raise(outcome, now.id), Found):
            raise Conflict(f"execution {now.id} is {outcome.status}; only a running one has progress to report")
        return self.get(now.id)


def _is_over(execution: Execution, until: str) -> Callable[[Execution], bool]:
    if until == "change":
        entries = len(execution.status_log)
        return lambda now: now.is_done or len(now.status_log) != entries
    if until == "started":
        return lambda now: now.status is not Status.PENDING
    # What is read after a rerun is not the old end any more; a rerun that was refused has started no attempt.
    return lambda now: now.is_done


def revive(raw: dict[str, Any], traceback: str | None = None) -> BaseException:
    """Make an exception again: of its own type where that can be imported, else a faithful stand-in."""
    message = raw.get("exc_message") or ()
    arguments = message if isinstance(message, list | tuple) else (message,)
    kind = find_type(raw.get("exc_module"), raw.get("exc_type", ""))
    if kind is not None:
        try:
            return kind(*arguments)
        except Exception:  # its constructor wants other arguments than it gave to its base
            pass
    text = str(raw.get("message") or (arguments[0] if arguments else ""))
    return ExecutionFailed(raw.get("exc_type", "Exception"), text, traceback)


def find_type(module: str | None, name: str) -> type[BaseException] | None:
    """Find an exception type by its module and name; anything that is not an exception type is refused."""
    try:
        found: Any = sys.modules.get(module or "") or importlib.import_module(module or "builtins")
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError):
        return None
    return found if isinstance(found, type) and issubclass(found, BaseException) else None
