"""`show` and `logs`: everything about one execution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.padding import Padding
from rich.text import Text

from executions.cli import render
from executions.cli.commands import Command
from executions.cli.completion import ExecutionId
from executions.cli.documents import full, read_output
from executions.cli.problems import Problem
from executions.cli.render import Column, Cut
from executions.cli.session import Session, pass_session, to_json
from executions.cli.waiting import print_lines
from executions.errors import ExecutionsError
from executions.execution import Attempt, Code, ErrorInfo, Execution, human_duration
from executions.states import Status


@click.command(cls=Command)
@click.argument("execution_id", metavar="ID", type=ExecutionId())
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_session
def show(session: Session, execution_id: str, as_json: bool) -> None:
    """Show everything about an execution.

    Its status log and attempts, inputs and output, its error with the traceback, who asked it to stop and why.
    """
    execution = session.client.executions.find(execution_id)
    if as_json:
        session.json(full(execution))
        return
    session.print(Text.assemble((render.safe(execution.function), "bold"), "  ", render.status_text(execution)))
    session.print(Padding(render.facts(_facts(session, execution)), (0, 0, 0, 2), expand=False))
    for title, part in _sections(session, execution):
        render.section(session, title, part)
    session.print(Text("\nStatus log", "bold"))
    _status_log(session, execution)
    if execution.attempts_log:
        session.print(Text("\nAttempts", "bold"))
        _attempts(session, execution.attempts_log)


@click.command(cls=Command)
@click.argument("execution_id", metavar="ID", type=ExecutionId())
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--recursive", "-r", is_flag=True, help="What it started as well, each below `children`.")
@pass_session
def download(session: Session, execution_id: str, folder: Path, recursive: bool) -> None:
    """Write the inputs and the output of an execution into a folder.

    The folder is made, or is empty. There is a file for each input, and one for the output or for each of its keys;
    what looks secret is redacted. The names of the files are printed.
    """
    execution = session.client.executions.find(execution_id)
    try:
        execution.download(folder, recursive=recursive)
    except OSError as error:
        raise Problem(f"{folder} cannot be written: {error.strerror}") from error
    session.lines(str(path) for path in sorted(folder.rglob("*")) if path.is_file())


@click.command(cls=Command)
@click.argument("execution_id", metavar="ID", type=ExecutionId())
@click.option("--follow", "-f", is_flag=True, help="Go on with what it writes from now on, until its end.")
@click.option("--level", help="Only lines of this level and above: debug, info, warning, error, critical.")
@click.option("--attempt", type=click.IntRange(1), help="Only of this attempt.  [default: all]")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array; with --follow, one document a line.")
@pass_session
def logs(
    session: Session, execution_id: str, follow: bool, level: str | None, attempt: int | None, as_json: bool
) -> None:
    """Print what an execution wrote: output, errors, log records."""
    execution = session.client.executions.find(execution_id)
    lines = execution.logs(follow=follow, level=level, attempt=attempt)
    if as_json and follow:
        for line in lines:
            session.write(to_json(line))
            session.out.file.flush()
    elif as_json:
        _array(session, iter(lines))
    else:
        print_lines(session, lines, attempts=attempt is None and execution.attempt > 1)


def _array(session: Session, lines: Iterator[dict[str, Any]]) -> None:
    """Write lines as they are read: a long log does not have to fit into memory twice."""
    separator = "["
    for line in lines:
        session.write(separator + to_json(line))
        separator = ","
    session.write("]" if separator == "," else "[]")


def _facts(session: Session, e: Execution) -> Iterator[tuple[str, str | Text | None]]:
    out = session.out
    yield "id", e.id
    yield "number", str(e.number)
    yield "name", e.name
    yield "message", None if e.error and e.message.endswith(e.error.message) else e.message
    yield "service", f"{e.service} (version {e.service_version})" if e.service and e.service_version else e.service
    yield "pipeline", " / ".join(part for part in (e.pipeline, e.stage) if part)
    yield "queue", e.queue
    yield "position", _position(session, e)
    yield "worker", f"{e.worker} (pid {e.pid}, {e.pool})" if e.worker else None
    yield "submitted by", e.principal
    yield "parent", e.parent_id
    yield "root", e.root_id if e.root_id != e.id else None
    yield "relaunch of", e.reference
    yield "code", _code(e.code)
    yield "ran", _code(e.ran)
    yield "created", render.when(e.created, out)
    yield "queued again", render.when(e.queued, out) if e.queued != e.created else None
    yield "not before", render.when(e.eta, out)
    yield "not after", render.when(e.expires, out)
    yield "started", render.when(e.started, out)
    yield "finished", render.when(e.finished, out)
    yield "took" if e.is_done else "running for", render.took(e)
    yield "attempt", _attempt_of(e)
    yield "time limit", human_duration(e.execution_timeout) if e.execution_timeout else None
    yield "progress", _progress(e)
    yield "tags", ", ".join(e.tags)


def _position(session: Session, e: Execution) -> str | None:
    try:
        found = session.client.queues.position(e) if e.status is Status.PENDING else None
    except ExecutionsError:
        return None  # the record is worth showing all the same
    return str(found) if found else None


def _code(code: Code | None) -> str | None:
    if code is None:
        return None
    on = f" on {code.branch}" if code.branch else ""
    changed = ", with changes" if code.is_dirty else ""
    message = f": {code.message} ({code.author})" if code.message else ""
    return render.safe(f"{code.commit[:8]}{on}{changed}{message}")


def _attempt_of(e: Execution) -> str | None:
    if not e.attempt and not e.max_attempts:
        return None
    return f"{e.attempt} of {e.max_attempts}" if e.max_attempts else str(e.attempt)


def _progress(e: Execution) -> str | None:
    if not e.progress and not e.progress_message:
        return None
    return f"{e.progress}%  {e.progress_message or ''}".rstrip()


def _sections(session: Session, e: Execution) -> Iterator[tuple[str, Any]]:
    if e.properties:
        yield "Properties", render.facts((name, render.value_text(value)) for name, value in e.properties.items())
    inputs = [(str(at), value) for at, value in enumerate(e.inputs.get("args") or ())]
    inputs += list((e.inputs.get("kwargs") or {}).items())
    if inputs:
        yield "Inputs", render.facts((name, render.value_text(value)) for name, value in inputs)
    output, missing = read_output(e)
    if missing:
        yield "Output", Text(render.safe(missing), "red")
    elif e.has_output:
        yield "Output", Text(render.safe(render.value_text(output)))
    # That a terminated one raised the stop is no news.
    if e.error and (e.status is not Status.TERMINATED or e.error.traceback):
        yield "Error", _error(e.error)
    if e.stop_request:
        request = e.stop_request
        grace = "" if request.grace_s is None else f", killed after {human_duration(request.grace_s)}"
        yield (
            "Stop request",
            render.facts(
                [
                    ("asked by", request.principal),
                    ("at", render.when(request.at, session.out)),
                    ("why", request.cause or "no cause given"),
                    ("how", f"{request.mode}{grace}"),
                ]
            ),
        )
    metrics = _metrics(e)
    if metrics:
        yield "Metrics", render.facts(metrics)
    if e.notes:
        notes = [(f"{render.when(one.timestamp, session.out)}  {one.principal}", one.text) for one in e.notes]
        yield "Notes", render.facts(notes)


def _error(error: ErrorInfo) -> Text:
    text = Text.assemble((f"{render.safe(error.type)}: {render.safe(error.message)}", "red"))
    if error.frame:
        text.append(f"\nin {render.safe(error.frame)}", "bold")
    if error.traceback:
        text.append(f"\n{render.safe(error.traceback.rstrip())}", "dim")
    return text


def _metrics(e: Execution) -> list[tuple[str, str]]:
    try:
        series = e.metrics()
    except ExecutionsError:
        return []  # the record is worth showing all the same
    return [(name, _last(points)) for name, points in series.items() if points]


def _last(points: Sequence[dict[str, Any]]) -> str:
    last = points[-1]
    step = f" at step {last['step']}" if last.get("step") is not None else ""
    return f"{last.get('value')}{step} ({len(points)} points)"


def _status_log(session: Session, e: Execution) -> None:
    columns = (
        Column("TIME", lambda entry: render.clock_time(entry["timestamp"], session.out)),
        Column("STATUS", render.entry_text),
        Column("TRY", lambda entry: str(entry["attempt"] or ""), right=True),
        Column("BY", lambda entry: entry["principal"] or entry["worker"] or "", cut=Cut.END),
        Column("MESSAGE", lambda entry: entry["message"], cut=Cut.END),
    )
    render.table(session.out, columns, e.status_log, indent=2)


def _attempts(session: Session, attempts: Sequence[Attempt]) -> None:
    columns = (
        Column("TRY", lambda attempt: str(attempt.number), right=True),
        Column("STATUS", render.status_text),
        Column("STARTED", lambda attempt: render.clock_time(attempt.started, session.out)),
        Column("TOOK", render.took, right=True),
        Column(
            "CPU",
            lambda attempt: "" if attempt.cpu_seconds is None else f"{attempt.cpu_seconds:.2f}s",
            wide_from=100,
            right=True,
        ),
        Column(
            "MEMORY",
            lambda attempt: "" if attempt.max_rss_mb is None else f"{attempt.max_rss_mb:.0f} MB",
            wide_from=100,
            right=True,
        ),
        Column("WORKER", lambda attempt: attempt.worker or "", cut=Cut.END),
        Column("ERROR", _attempt_error, cut=Cut.END),
    )
    render.table(session.out, columns, attempts, indent=2)


def _attempt_error(attempt: Attempt) -> str:
    if attempt.error is None or attempt.status is Status.TERMINATED:
        return ""
    return f"{attempt.error.type}: {attempt.error.message}"
