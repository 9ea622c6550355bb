"""Following an execution to its end: its lines, its progress, how it ended."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.status import Status as Spinner
from rich.text import Text

from executions.cli import render
from executions.cli.documents import full, read_output, rfc3339
from executions.cli.problems import TIMED_OUT, Problem, exit_code_of
from executions.cli.session import Session
from executions.clock import SYSTEM_CLOCK
from executions.errors import WaitTimeout
from executions.execution import Execution
from executions.states import Status

#: Seconds between two looks at the progress, which is not pushed; the end is.
LOOK_S = 0.5

_LEVEL_STYLES = {"DEBUG": "dim", "WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red"}


class WaitedTooLong(Problem):
    """The time to wait is over."""

    exit_code = TIMED_OUT


def wait_for(session: Session, execution: Execution, timeout: float | None) -> Execution:
    """Wait for the end; on a terminal, show the progress meanwhile."""
    try:
        if not session.err.is_terminal or execution.is_done:
            return execution.wait(timeout)
        return _wait_and_show(session, execution, timeout)
    except WaitTimeout as error:
        raise WaitedTooLong(f"{error}; wait again, or see `executions show {execution.id}`") from error


def _wait_and_show(session: Session, execution: Execution, timeout: float | None) -> Execution:
    deadline = None if timeout is None else SYSTEM_CLOCK.monotonic() + timeout
    awaited = execution
    with session.err.status(_progress(execution), spinner="dots") as spinner:
        while True:
            left = None if deadline is None else deadline - SYSTEM_CLOCK.monotonic()
            try:
                return awaited.wait(LOOK_S if left is None else max(0.001, min(LOOK_S, left)))
            except WaitTimeout:
                if left is not None and left <= LOOK_S:
                    raise WaitTimeout(f"waited {timeout:g} s for execution {execution.id}, which goes on") from None
            _tick(spinner, awaited.refresh())


def _tick(spinner: Spinner, now: Execution) -> None:
    spinner.update(_progress(now))


def _progress(execution: Execution) -> Text:
    line = Text.assemble(render.status_text(execution), "  ", execution.function)
    for part in (render.took(execution), execution.progress_message or execution.message):
        if part:
            line.append(f"  {render.safe(part)}")
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def print_lines(session: Session, lines: Iterable[dict[str, Any]], *, attempts: bool = False) -> None:
    """Print lines of a log as they come."""
    for line in lines:
        session.out.print(_line(session, line, attempts), soft_wrap=True)


def _line(session: Session, line: dict[str, Any], attempts: bool) -> Text:
    level = str(line["level"])
    moment = line["timestamp"]
    stamp = f"{moment.astimezone():%H:%M:%S}.{moment.microsecond // 1000:03d}"
    if not session.out.is_terminal:
        stamp = rfc3339(moment)
    # Colours that the function chose stay on a terminal; what else that would obey stays nowhere.
    message = Text.from_ansi(str(line["message"]), no_wrap=True)
    message.plain = render.safe(message.plain)
    text = Text.assemble((stamp, "dim"), " ", (f"{level:<8}", _LEVEL_STYLES.get(level, "")), " ")
    if attempts:
        text.append(f"#{line['attempt']} ", "dim")
    return text.append_text(message)


def finish(
    session: Session, execution: Execution, *, timeout: float | None = None, as_json: bool = False, quiet: bool = False
) -> int:
    """Wait for the end, tell how it ended, and give the exit code for it."""
    done = wait_for(session, execution, timeout)
    if as_json:
        session.json(full(done))
    elif not quiet:
        session.print(ending(done))
        if not done.is_successful:
            session.hint(f"more: executions show {done.id}   executions logs {done.id}")
    return exit_code_of(done)


def ending(execution: Execution) -> Text:
    """Tell how an execution ended, on one line and the output's."""
    line = Text.assemble(execution.id, "  ", render.status_text(execution), f"  {render.safe(execution.function)}")
    if execution.started:
        line.append(f"  {render.took(execution)}")
    if execution.is_successful:
        output, missing = read_output(execution)
        if missing or output is not None:
            line.append(f"\n{render.safe(missing or render.value_text(output))}")
        return line
    why = _why(execution)
    return line.append(f"\n{render.safe(why)}") if why else line


def _why(execution: Execution) -> str:
    request = execution.stop_request
    if execution.status is Status.TERMINATED and request is not None:
        return f"by {request.principal}: {request.cause}" if request.cause else f"by {request.principal}"
    if execution.is_done and execution.error:
        return f"{execution.error.type}: {execution.error.message}"
    return execution.message
