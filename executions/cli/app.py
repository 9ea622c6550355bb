"""The commands put together: `executions`, and `executions` below `celery`."""

from __future__ import annotations

import sys

import click

from executions.cli import (
    acting,
    bulk,
    completion,
    detail,
    doctor,
    editing,
    fleet,
    following,
    listing,
    people,
    reports,
    running,
    services,
    views,
)
from executions.cli.commands import Root
from executions.cli.session import global_options, session_of
from executions.version import VERSION

_EPILOG = "The options above may stand behind a command's name as well. `executions COMMAND --help` tells the rest."


@click.group(cls=Root, name="executions", params=global_options(), epilog=_EPILOG, invoke_without_command=True)
@click.version_option(VERSION, message="%(prog)s %(version)s", prog_name="executions")
@click.pass_context
def root(ctx: click.Context) -> None:
    """See, follow, start and stop the executions of a Celery fleet."""
    session_of(ctx).program = ctx.command_path
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


for _command in (
    listing.ls,
    detail.show,
    detail.logs,
    detail.download,
    following.watch,
    following.open_page,
    running.run,
    running.wait,
    acting.terminate,
    acting.rerun,
    editing.note,
    editing.edit,
    running.relaunch,
    bulk.bulk,
    services.services,
    fleet.functions,
    fleet.workers,
    reports.queues,
    reports.failures,
    reports.stats,
    reports.export_command,
    views.views,
    people.user,
    people.token,
    people.audit,
    doctor.doctor,
    completion.completion,
):
    root.add_command(_command)

#: What `celery` finds under its group of entry points; the app comes in through its context.
celery_command = root


def main() -> None:
    """Run the command line and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A log may hold what the terminal's encoding cannot write; that is no reason to stop.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    root(prog_name="executions")
