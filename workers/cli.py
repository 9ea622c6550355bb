"""The commands that run the local stack: `executions up` and `executions down`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

import executions
from executions.errors import ExecutionsError
from workers import samples
from workers.local.parts import Wish
from workers.local.server import HOST, USUAL_PORT
from workers.local.stack import GRACE_S, Report, Stack

DEFAULT_APP = "workers.app"
SCHEMES = ("redis", "rediss", "valkey", "valkeys", "unix", "redis+socket", "sentinel")

_folder = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="The project's folder; data and logs go to .executions in it.  [default: the current one]",
)


@click.command()
@click.option("--url", metavar="URL", help="Use this server in place of the embedded one.")
@click.option("--workers", type=click.IntRange(0, 64), default=2, show_default=True, help="How many workers.")
@click.option("--concurrency", type=click.IntRange(1, 1024), default=2, show_default=True, help="Slots each.")
@click.option(
    "--pool",
    type=click.Choice(["prefork", "threads", "solo", "gevent"]),
    default="prefork",
    show_default=True,
    help="What a slot is.",
)
@click.option("-A", "--app", default=DEFAULT_APP, show_default=True, help="The Celery app to run.")
@click.option("--flower/--no-flower", default=True, help="Whether to start Flower.")
@click.option("--samples/--no-samples", "with_samples", default=True, help="Whether to run the samples.")
@_folder
def up(with_samples: bool, folder: Path, url: str | None, **wishes: object) -> None:
    """Start a server, workers and Flower here; what runs already is left alone."""
