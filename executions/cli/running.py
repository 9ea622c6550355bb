"""`run`, `relaunch` and `wait`: starting executions and waiting for their end."""

from __future__ import annotations

from typing import Any

import click

from executions.cli import values, waiting
from executions.cli.commands import Command
from executions.cli.completion import ExecutionId, FunctionName
from executions.cli.documents import full
from executions.cli.session import Session, pass_session
from executions.errors import NotFound
from executions.execution import Execution
from executions.function import Function
from executions.policy import ON_RESET

_inputs = click.option(
    "--input", "-i", "pairs", type=values.Typed(), multiple=True, metavar="NAME=VALUE",
    help="A keyword argument; the value is read as JSON, and as text where it is none.",
)  # fmt: skip
_json_input = click.option(
    "--json-input", type=values.Inputs(), metavar="JSON",
    help="Keyword arguments as a JSON object, or positional ones as an array; @FILE or - for stdin.",
)  # fmt: skip
_wait = click.option("--wait", "-w", is_flag=True, help="Wait for the end; the exit code tells it, as with `wait`.")
_logs = click.option("--logs", is_flag=True, help="Print what it writes while it runs, and wait for the end.")
_json = click.option("--json", "as_json", is_flag=True, help="Print the execution as one JSON document.")
_quiet = click.option("--quiet", "-q", is_flag=True, help="Print the id and nothing else.")


@click.command(cls=Command)
@click.argument("function", type=FunctionName())
@click.argument("args", nargs=-1)
@_inputs
@_json_input
@click.option("--name", help="Submit once: a second submit with this name finds the first.")
@click.option("--tag", "tags", multiple=True, help="Tag it; may be given several times.")
@click.option("--property", "properties", type=values.Pair(), multiple=True, metavar="NAME=VALUE", help="Describe it.")
@click.option("--service", help="FUNCTION is one of this service, and runs under its policy.")
@click.option("--pipeline", help="The pipeline it belongs to.")
@click.option("--stage", help="The stage of the pipeline.")
@click.option("--queue", help="The queue it goes to.  [default: the function's own]")
@click.option("--countdown", type=values.Seconds(), help="Start no sooner than in this time.")
@click.option("--expires", type=values.Seconds(), help="Do not start later than in this time.")
@click.option("--timeout", "execution_timeout", type=values.WholeSeconds(), help="How long each attempt may run.")
@click.option("--on-reset", type=click.Choice(ON_RESET), help="What follows a timeout or a lost worker.")
@click.option("--max-attempts", type=click.IntRange(1), help="How often it is tried at most.")
@_wait
@_logs
@_json
@_quiet
@pass_session
def run(
    session: Session,
    function: str,
    args: tuple[str, ...],
    pairs: tuple[tuple[str, str], ...],
    json_input: Any,
    service: str | None,
    wait: bool,
    logs: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Start one run of a function.

    FUNCTION is the name that its workers know it by. ARGS are its positional arguments, each read as JSON,
    and as text where it is none: 5 is a number (a text where the function says str), mnist is text, and so is
    '"5"'. Put -- in front of values that begin with a dash.
    """
    _check(logs, as_json)
    known = _known(session, function)
    positional, keywords = values.merge_inputs(args, pairs, json_input, known.parameters if known else None)
    given = {name: value for name, value in options.items() if value not in (None, ())}
    if "properties" in given:
        given["properties"] = dict(given["properties"])
    if service is None:
        _warn_if_unknown(session, function, known)
        execution = session.client.submit(function, *positional, inputs=keywords, **given)
    elif positional:
        raise click.UsageError("functions of a service take their arguments by name: -i NAME=VALUE")
    else:
        execution = session.client.services.get(service).execute(function, inputs=keywords, **given)
    _started(session, execution, wait=wait, logs=logs, as_json=as_json, quiet=quiet)


@click.command(cls=Command)
@click.argument("execution_id", metavar="ID", type=ExecutionId())
@_inputs
@_json_input
@_wait
@_logs
@_json
@_quiet
@pass_session
def relaunch(
    session: Session,
    execution_id: str,
    pairs: tuple[tuple[str, str], ...],
    json_input: Any,
    wait: bool,
    logs: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Start a new execution with the inputs of an old one.

    Some of them may be changed; the new one refers to the old one.
    """
    _check(logs, as_json)
    origin = session.client.executions.find(execution_id)
    known = _known(session, origin.function)
    positional, keywords = values.merge_inputs((), pairs, json_input, known.parameters if known else None)
    if positional:
        raise click.UsageError("relaunch changes keyword arguments: give an object to --json-input")
    execution = origin.relaunch(**keywords)
    _started(session, execution, wait=wait, logs=logs, as_json=as_json, quiet=quiet)


@click.command(cls=Command)
@click.argument("execution_id", metavar="ID", type=ExecutionId())
@click.option("--timeout", "-t", type=values.Seconds(), help="Wait no longer than this.")
@_json
@click.option("--quiet", "-q", is_flag=True, help="Print nothing; the exit code tells all.")
@pass_session
def wait(session: Session, execution_id: str, timeout: float | None, as_json: bool, quiet: bool) -> None:
    """Wait for the end of an execution.

    Exits with 0 if it succeeded, 1 if it failed, 3 if it was terminated, 4 if the time was over first.
    """
    execution = session.client.executions.find(execution_id)
    code = waiting.finish(session, execution, timeout=timeout, as_json=as_json, quiet=quiet)
    raise click.exceptions.Exit(code)


def _known(session: Session, function: str) -> Function | None:
    try:
        return session.client.functions.get(function)
    except NotFound:
        return None


def _warn_if_unknown(session: Session, function: str, known: Function | None) -> None:
    if known is None or not known.alive:
        session.err.print(f"warning: no worker knows {function!r}; it waits, or is rejected", soft_wrap=True)


def _check(logs: bool, as_json: bool) -> None:
    if logs and as_json:
        raise click.UsageError("--logs prints lines and --json one document; choose one", click.get_current_context())


def _started(session: Session, execution: Execution, *, wait: bool, logs: bool, as_json: bool, quiet: bool) -> None:
    """Say what was started, and stay with it if asked to."""
    if quiet:
        session.write(execution.id)
    if not (wait or logs):
        if as_json:
            session.json(full(execution))
        elif not quiet:
            session.print(waiting.ending(execution))
            session.hint(f"follow it: executions logs -f {execution.id}   executions wait {execution.id}")
        return
    # Who interrupts the waiting has to know what it was that goes on.
    session.hint(f"started {execution.id}; Ctrl-C leaves it running")
    if logs:
        waiting.print_lines(session, execution.logs(follow=True))
        execution = execution.refresh()
    raise click.exceptions.Exit(waiting.finish(session, execution, as_json=as_json, quiet=quiet))
