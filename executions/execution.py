"""What a user holds: a frozen picture of one execution, with verbs that ask the registry for a new one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from executions.states import TERMINAL, Reason, Status

if TYPE_CHECKING:
    from executions.logs import LogView


@dataclass(frozen=True)
class ErrorInfo:
    """What is known of the exception that ended an attempt."""

    type: str
    message: str
    traceback: str | None = None
    #: `file:line in function` of the user's own innermost frame.
    frame: str | None = None
    #: Equal for errors of one kind: type, frame's function and the message without its numbers.
    fingerprint: str | None = None
    #: `user` for the function's own errors, `system` for a lost worker.
    kind: str = "user"
    #: How the process ended that ran it, where that is known: its exit code, or a signal as a negative number.
    exit_code: int | None = None


@dataclass(frozen=True)
class Attempt:
    """One try of an execution on one worker."""

    number: int
    status: Status
    reason: Reason
    worker: str | None = None
    pid: int | None = None
    pool: str | None = None
    started: datetime | None = None
    finished: datetime | None = None
    cpu_seconds: float | None = None
    max_rss_mb: float | None = None
    error: ErrorInfo | None = None
    service_version: int | None = None

    @property
    def duration(self) -> float | None:
        """Seconds from start to end, once it has ended."""
        if self.started is None or self.finished is None:
            return None
        return (self.finished - self.started).total_seconds()


@dataclass(frozen=True)
class StopRequest:
    """Who asked for an execution to stop, when and why."""

    principal: str
    cause: str
    mode: str
    grace_s: float | None
    at: datetime | None


@dataclass(frozen=True)
class Note:
    """What somebody wrote about an execution, and when."""

    timestamp: datetime | None
    principal: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Code:
    """Which code a process runs, as far as its checkout tells."""

    commit: str
    branch: str | None = None
    repository: str | None = None
    author: str | None = None
    #: The first line of the commit's message.
    message: str | None = None
    #: Whether tracked files differ from the commit; nothing where that is not known.
    is_dirty: bool | None = None


class Verbs(Protocol):
    """What an execution asks its client to do."""

    def get(self, execution_id: str) -> Execution: ...
    def wait(
        self, execution: Execution, timeout: float | None, poll_interval: float | None, until: str
    ) -> Execution: ...
    def terminate_one(self, execution: Execution, cause: str, force: bool, grace: float | None) -> Execution: ...
    def rerun_one(self, execution: Execution, sync: bool, cause: str) -> Execution: ...
    def relaunch_one(self, execution: Execution, inputs: dict[str, Any]) -> Execution: ...
    def logs_of(self, execution: Execution, follow: bool, level: str | None, attempt: int | None) -> LogView: ...
    def events_of(self, execution: Execution, follow: bool) -> Iterator[dict[str, Any]]: ...
    def children_of(self, execution: Execution) -> list[Execution]: ...
    def metrics_of(self, execution: Execution) -> dict[str, list[dict[str, Any]]]: ...
    def update_one(self, execution: Execution, **changes: Any) -> Execution: ...
    def note_one(self, execution: Execution, text: str) -> Execution: ...
    def report_one(self, execution: Execution, progress: float | None, message: str | None) -> Execution: ...
    def result_of(self, execution: Execution) -> Any: ...
    def download_one(self, execution: Execution, folder: str | Path, recursive: bool) -> Path: ...
    def url_of(self, execution: Execution) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Execution:
    """One requested run, as it was when it was read. Nothing here changes; every verb gives a fresh picture."""

    id: str
    number: int
    function: str
    status: Status
    reason: Reason
    message: str = ""
    name: str | None = None
    service: str | None = None
    service_version: int | None = None
    pipeline: str | None = None
    stage: str | None = None
    queue: str | None = None
    worker: str | None = None
    pid: int | None = None
    pool: str | None = None
    principal: str | None = None
    parent_id: str | None = None
    root_id: str | None = None
    reference: str | None = None
    #: The number of the current attempt; 0 before the first start.
    attempt: int = 0
    max_attempts: int | None = None
    execution_timeout: int | None = None
    progress: int = 0
    progress_message: str | None = None
    tags: tuple[str, ...] = ()
    properties: dict[str, Any] = field(default_factory=dict)
    #: The last value of each metric; of lists, only those that were asked for by `columns`. So with properties.
    latest_metrics: dict[str, float] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)
    error: ErrorInfo | None = None
    created: datetime | None = None
    queued: datetime | None = None
    eta: datetime | None = None
    expires: datetime | None = None
    started: datetime | None = None
    finished: datetime | None = None
    status_log: tuple[dict[str, Any], ...] = ()
    attempts_log: tuple[Attempt, ...] = ()
    stop_request: StopRequest | None = None
    #: What people wrote about it, oldest first; lists know only how many there are.
    notes: tuple[Note, ...] = ()
    note_count: int = 0
    #: The code that submitted it, and the code that ran it where that was another commit. Lists know no more of
    #: them than commit and branch.
    code: Code | None = None
    ran: Code | None = None
    #: The attempt that `wait()` waits for; a rerun's picture waits for the new one.
    awaits: int | None = None
    has_output: bool = False
    _raw: dict[str, str] = field(default_factory=dict, repr=False, compare=False)
    _verbs: Verbs | None = field(default=None, repr=False, compare=False)

    @property
    def is_done(self) -> bool:
        """Whether it has ended."""
        return self.status in TERMINAL

    @property
    def is_successful(self) -> bool:
        """Whether it ended with an output."""
        return self.status in (Status.SUCCESS, Status.CACHED)

    @property
    def attempts(self) -> int:
        """How many attempts have started."""
        return self.attempt

    @property
    def to_terminate(self) -> bool:
        """Whether somebody asked for it to stop; stays true after the end."""
        return self.stop_request is not None

    @property
    def latest_status(self) -> dict[str, Any]:
        """The last entry of the status log, with the progress and the worker of now."""
        moment = self.finished or self.started or self.queued
        last = self.status_log[-1] if self.status_log else {"timestamp": moment, "attempt": self.attempt}
        return {
            **last,
            "status": self.status,
            "reason": self.reason,
            "message": self.message or (self.progress_message or ""),
            "percent_complete": self.progress,
            "worker_id": self.worker,
        }

    @property
    def duration(self) -> float | None:
        """Seconds that the current attempt took; `None` until it has ended."""
        if self.started is None or self.finished is None:
            return None if not self.is_done else 0.0
        return max(0.0, (self.finished - self.started).total_seconds())

    @property
    def output(self) -> Any:
        """What the function returned; fetched from the payload store where it is large."""
        return self._ask().result_of(self) if self.has_output else None

    @property
    def path(self) -> str:
        """Where its page is found below the address of a console."""
        return f"/executions/{quote(self.id, safe='')}"

    @property
    def url(self) -> str:
        """The address of its page, on the console that the settings name."""
        return self._ask().url_of(self)

    def refresh(self) -> Execution:
        """Read it again."""
        return self._ask().get(self.id)

    def get_latest_status(self) -> dict[str, Any]:
        """Read the latest status again; this picture stays as it is."""
        return self.refresh().latest_status

    def wait(
        self,
        timeout: float | timedelta | None = None,
        poll_interval: float | timedelta | None = None,
        until: str = "done",
    ) -> Execution:
        """Wait for the end (or `until="started"`, or `until="change"`: the next one) and give the fresh picture.

        Raises `WaitTimeout` after `timeout` seconds; the execution goes on. No timeout, or zero, means
        for ever. A failed execution does not raise. Changes are pushed; `poll_interval` only sets how often
        the record is read as well.
        """
        return self._ask().wait(self, _seconds(timeout), _seconds(poll_interval), until)

    def result(self, timeout: float | timedelta | None = None) -> Any:
        """Wait, then give the output, or raise what the function raised."""
        done = self.wait(timeout)
        return done._ask().result_of(done)

    def terminate(self, cause: str = "", force: bool = False, grace: float | None = None) -> Execution:
        """Ask for it to stop: at a checkpoint, then by an exception, then (after `grace` seconds) by a kill.

        `force=True` kills at once. Waiting executions never start. One that has ended stays as it is.
        """
        return self._ask().terminate_one(self, cause, force, grace)

    def rerun(self, sync: bool = False, cause: str = "") -> Execution:
        """Run it once more under the same id; raises `Conflict` while it has not ended."""
        return self._ask().rerun_one(self, sync, cause)

    def relaunch(self, **inputs: Any) -> Execution:
        """Start a new execution with the same inputs, or with the given ones changed."""
        return self._ask().relaunch_one(self, inputs)

    def update(self, **changes: Any) -> Execution:
        """Change its tags and properties; nothing of its status can be written.

        `tags` are added and `remove_tags` taken away, `properties` merged and `remove_properties` (names) taken
        away, all at once. With `unless_changed=True` nothing is written, and `Changed` raised, where the tags or
        properties are not any more as in this picture.
        """
        return self._ask().update_one(self, **changes)

    def add_note(self, text: str) -> Execution:
        """Add a note, which is kept with who wrote it and when; there is room for a hundred of 4,000 characters."""
        return self._ask().note_one(self, text)

    def report(self, progress: float | None = None, message: str | None = None) -> Execution:
        """Say how far its running attempt is, for work that is done elsewhere; the status stays as it is.

        What is left out stays as it was. Raises `Conflict` where it does not run, as before its start or after
        its end.
        """
        return self._ask().report_one(self, progress, message)

    def logs(self, follow: bool = False, level: str | None = None, attempt: int | None = None) -> LogView:
        """Give the lines it wrote: a view to print, index or iterate; with `follow`, as they come until the end."""
        return self._ask().logs_of(self, follow, level, attempt)

    def events(self, follow: bool = False) -> Iterator[dict[str, Any]]:
        """Give its status log, one entry after the other; with `follow`, as they come until the end."""
        return self._ask().events_of(self, follow)

    def download(self, folder: str | Path, *, recursive: bool = False) -> Path:
        """Write its inputs and its output into a new or empty folder, as JSON and what is bytes as it is.

        With `recursive`, what it started as well, each below `children`. Inputs are as they may be shown.
        """
        return self._ask().download_one(self, folder, recursive)

    def children(self) -> list[Execution]:
        """Give the executions that this one started."""
        return self._ask().children_of(self)

    def metrics(self) -> dict[str, list[dict[str, Any]]]:
        """Give the step metrics by name, each in the order written."""
        return self._ask().metrics_of(self)

    def _ask(self) -> Verbs:
        if self._verbs is None:
            raise RuntimeError(f"execution {self.id} was not read through a client")
        return self._verbs

    def _repr_html_(self) -> str:
        return notebook_html([self])


def _seconds(value: float | timedelta | None) -> float | None:
    return value.total_seconds() if isinstance(value, timedelta) else value


#: The colour of each status in a notebook; pages have their own style sheets.
_COLOURS = {
    Status.PENDING: "#6b7280",
    Status.RUNNING: "#2563eb",
    Status.SUCCESS: "#15803d",
    Status.CACHED: "#0f766e",
    Status.FAILED: "#b91c1c",
    Status.TERMINATED: "#a16207",
}


def notebook_html(executions: Sequence[Execution]) -> str:
    """Draw executions as a table for a notebook: inline styles, no script."""
    rows = "".join(_row(execution) for execution in executions)
    head = "".join(
        f"<th style='text-align:left'>{title}</th>"
        for title in ("Status", "Function", "Attempt", "Progress", "Duration", "Id")
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _row(execution: Execution) -> str:
    colour = _COLOURS[execution.status]
    reason = f" ({execution.reason})" if execution.reason else ""
    pill = f"<b style='color:{colour}'>{escape(execution.status + reason)}</b>"
    seconds = "" if execution.duration is None else human_duration(execution.duration)
    cells = (
        pill,
        escape(execution.function),
        str(execution.attempt),
        f"{execution.progress}%",
        seconds,
        f"<code>{escape(execution.id)}</code>",
    )
    return "<tr>" + "".join(f"<td style='text-align:left'>{cell}</td>" for cell in cells) + "</tr>"


def escape(text: str) -> str:
    """Make text safe inside HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#39;")


def human_duration(seconds: float) -> str:
    """Write seconds as people do: `45s`, `5m 28s`, `1h 2m 3s`; below ten seconds with a fraction."""
    if seconds < 10:
        return f"{seconds:.2f}s"
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    parts = [f"{hours}h"] if hours else []
    parts += [f"{minutes}m"] if hours or minutes else []
    return " ".join([*parts, f"{left}s"])
