"""What goes wrong, told in one line on stderr: what happened, and what to do next.

| exit code | meaning                                                                        |
|-----------|--------------------------------------------------------------------------------|
| 0         | done; for `wait`: the execution succeeded                                      |
| 1         | it could not be done; for `wait`: the execution failed; for `doctor`: a fail   |
| 2         | the command was not understood: an option, a value, a query, a URL             |
| 3         | `wait`: the execution was terminated                                           |
| 4         | `wait`: the time was over before the execution was                             |
| 130       | interrupted with Ctrl-C                                                        |
| 141       | whoever read the output went away                                              |
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import click

from executions import errors
from executions.cli.session import session_of
from executions.execution import Execution
from executions.states import Status

FAILED = 1
MISUSED = 2
TERMINATED = 3
TIMED_OUT = 4
INTERRUPTED = 130
BROKEN_PIPE = 141

#: A value such as `-5` that the option parser takes for an option.
_NEGATIVE = re.compile(r"-\.?\d")


class Problem(click.ClickException):
    """Something that could not be done."""

    exit_code = FAILED

    def show(self, file: IO[Any] | None = None) -> None:
        word = click.style("error:", fg="red", bold=True)
        click.echo(f"{word} {self.message}", file=file or sys.stderr, color=self.show_color)


class Misuse(Problem):
    """A command that was not understood."""

    exit_code = MISUSED


def exit_code_of(execution: Execution) -> int:
    """Give the exit code that tells how an execution ended."""
    if execution.is_successful:
        return 0
    return TERMINATED if execution.status is Status.TERMINATED else FAILED


@contextmanager
def told(ctx: click.Context) -> Iterator[None]:
    """Turn whatever happens inside into one line and an exit code."""
    try:
        yield
        sys.stdout.flush()
    except (Problem, click.exceptions.Exit, SystemExit):
        raise
    except click.UsageError as error:
        raise misuse(error) from error
    except (KeyboardInterrupt, click.Abort):
        if sys.stderr.isatty():
            click.echo(err=True)  # the shell's prompt begins on a line of its own
        raise click.exceptions.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        _forget_stdout()
        raise click.exceptions.Exit(BROKEN_PIPE) from None
    except click.ClickException as error:
        raise Problem(one_line(error.format_message())) from error
    except Exception as error:
        if session_of(ctx).debug:
            raise
        raise problem(error, ctx) from error


def problem(error: Exception, ctx: click.Context) -> Problem:
    """Give what to tell of an error."""
    if isinstance(error, errors.InvalidInput):
        return Misuse(_with_advice(error, ctx))
    if isinstance(error, errors.ExecutionsError):
        return Problem(_with_advice(error, ctx))
    if isinstance(error, OSError) and error.strerror:
        return Problem(one_line(f"{error.filename or 'the output'}: {error.strerror}"))
    text = one_line(f"{type(error).__name__}: {error}")
    return Problem(f"{text}; this should not happen, --debug shows where it did")


@contextmanager
def pointing_into(query: str | None) -> Iterator[None]:
    """Show a query that was refused with a caret under the place."""
    try:
        yield
    except errors.InvalidQuery as error:
        if error.position is None or not query:
            raise
        shown = re.sub(r"\s", " ", query)
        raise Misuse(f"{one_line(error.message)}\n  {shown}\n  {' ' * error.position}^") from error


def one_line(text: str) -> str:
    """Give a text as one line that is safe to print."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def misuse(error: click.UsageError) -> Misuse:
    """Give what to tell of a command line that was not understood."""
    text = one_line(error.format_message()).rstrip(".")
    if isinstance(error, click.NoSuchOption) and _NEGATIVE.match(error.option_name):
        return Misuse(f"{text}; put -- in front of values that begin with a dash")
    return Misuse(f"{text}; see `{error.ctx.command_path} --help`" if error.ctx else text)


def _with_advice(error: errors.ExecutionsError, ctx: click.Context) -> str:
    text, next_step = one_line(str(error)), _advice(error, session_of(ctx).program)
    return f"{text.rstrip('.')}; {next_step}" if next_step else text


def _advice(error: errors.ExecutionsError, program: str) -> str:
    """Say what to do about an error whose message does not say it itself."""
    text = str(error)
    match error:
        case errors.Unavailable() if "password" in text:
            return "check the user and password in --url or EXECUTIONS_URL (redis://USER:PASSWORD@HOST:PORT/0)"
        case errors.Unavailable() if "broker" in text:
            return "start it, or name yours by EXECUTIONS_BROKER"
        case errors.Unavailable() if "cannot be reached" in text:
            return "start one with `executions up`, or name yours with --url or EXECUTIONS_URL"
        case errors.NotFound() if text.startswith("no service"):
            return f"`{program} services` shows those there are"
        case errors.NotFound() if text.startswith("no execution"):
            return f"`{program} ls` shows those there are"
        case _:
            return ""


def _forget_stdout() -> None:
    """Let the interpreter's last flush go nowhere, or it would complain about the closed pipe."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        pass
