"""The commands that run the local stack: `executions up` and `executions down`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

import executions
from executions.errors import ExecutionsError
from executions.execution import Execution
from executions.registry.address import mask_password, normalize_url
from executions.settings import DEFAULT_URL, Settings
from workers import samples
from workers.local.parts import DEFAULT_APP, Wish
from workers.local.stack import GRACE_S, Report, Stack

_folder = click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    show_default=True,
    help="The project's folder; data and logs are in .executions below it.",
)


@click.command()
@click.option("--url", envvar="EXECUTIONS_URL", metavar="URL", help="A server to use in place of the embedded one.")
@click.option("--workers", type=click.IntRange(0, 64), default=2, show_default=True, help="How many workers.")
@click.option("--concurrency", type=click.IntRange(1, 1024), default=2, show_default=True, help="Slots of each.")
@click.option(
    "--pool",
    type=click.Choice(["prefork", "threads", "solo", "gevent"]),
    default="prefork",
    show_default=True,
    help="What the workers run functions in.",
)
@click.option("-A", "--app", default=DEFAULT_APP, show_default=True, help="The Celery app to run.")
@click.option("--flower/--no-flower", default=True, help="Start Flower too.  [default: yes]")
@click.option("--page/--no-page", default=True, help="Serve the page and the API.  [default: yes]")
@click.option("--samples/--no-samples", "with_samples", default=True, help="Run some samples.  [default: yes]")
@_folder
def up(
    url: str | None,
    workers: int,
    concurrency: int,
    pool: str,
    app: str,
    flower: bool,
    page: bool,
    with_samples: bool,
    folder: Path,
) -> None:
    """Start a server, workers, the page and Flower here.

    What runs already is left alone.
    """
    console = Console(highlight=False)
    with _one_line_errors():
        settings = Settings.from_env(url=normalize_url(url) if url else None)
        wish = Wish(
            url=settings.url if url else None,
            broker=settings.broker,
            app=app,
            workers=workers,
            concurrency=concurrency,
            pool=pool,
            flower=flower,
            page=page,
        )
        report = Stack(folder, _sayer(console)).up(wish)
        # The samples are functions of the fleet's own app; another app's workers do not know them.
        if with_samples and workers and app == DEFAULT_APP:
            console.print("running a few samples")
            console.print(_table(_run_samples(report)))
        _print_addresses(console, report)


@click.command()
@click.option("--grace", type=click.FloatRange(min=0), default=GRACE_S, show_default=True, help="Seconds to finish.")
@_folder
def down(folder: Path, grace: float) -> None:
    """Stop what `up` started; the data stays.

    The next `up` finds it.
    """
    console = Console(highlight=False)
    with _one_line_errors():
        stopped = Stack(folder, _sayer(console)).down(grace)
    console.print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")


def _sayer(console: Console) -> Callable[[str], None]:
    return lambda line: console.print(line, style="dim", markup=False, soft_wrap=True)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Show an error of ours as its one sentence and not as a traceback."""
    try:
        yield
    except ExecutionsError as error:
        raise click.ClickException(str(error)) from error


def _run_samples(report: Report) -> list[Execution]:
    client = executions.connect(report.url)
    try:
        return samples.run_samples(client)
    finally:
        client.close()


def _table(shown: Sequence[Execution]) -> Table:
    # Without lines and wide gaps a row fits into eighty columns with the whole id, which people copy.
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    for name in ("id", "function", "status", "attempts", "duration"):
        table.add_column(name, no_wrap=True)
    for execution in shown:
        took = "" if execution.duration is None else f"{execution.duration:.2f} s"
        table.add_row(execution.id, execution.function, execution.status, str(execution.attempts), took)
    return table


def _print_addresses(console: Console, report: Report) -> None:
    console.print(f"\nserver   [bold]{mask_password(report.url)}[/bold]", soft_wrap=True)
    if report.page_url:
        console.print(f"page     [bold]{report.page_url}[/bold]", soft_wrap=True)
    if report.flower_url:
        console.print(f"Flower   [bold]{report.flower_url}[/bold]", soft_wrap=True)
    console.print("\nTry next:")
    if report.url != DEFAULT_URL:
        # Not on the address where every command looks for it, so they have to be told.
        console.print(f"  export EXECUTIONS_URL='{mask_password(report.url)}'", soft_wrap=True)
    for command in ("ls", "run samples.train digits", "down"):
        console.print(f"  {_program()} {command}", soft_wrap=True)


def _program() -> str:
    """Give what has to be typed for `executions`: its path, where the environment is not activated."""
    if shutil.which("executions"):
        return "executions"
    program, here = Path(sys.executable).with_name("executions"), Path.cwd()
    return str(program.relative_to(here) if program.is_relative_to(here) else program)
