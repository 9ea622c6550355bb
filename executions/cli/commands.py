"""How commands behave that the option parser leaves open: errors on one line, global options, plug-ins."""

from __future__ import annotations

import difflib
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click

from executions.cli.problems import Problem, misuse, one_line, told
from executions.cli.session import global_options, session_of
from executions.lazy import lazy

#: Other packages add commands to ours under this group of entry points.
PLUGINS = "executions.commands"


class Command(click.Command):
    """A command of ours: the global options may stand behind its name as well."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        own = {name for param in self.params for name in param.opts}
        self.params += [option for option in global_options(hidden=True) if own.isdisjoint(option.opts)]


class Group(click.Group):
    """A group of commands of ours."""

    command_class = Command

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            raise misuse(error) from error

    def invoke(self, ctx: click.Context) -> Any:
        with told(ctx):
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names in the order in which they were added: what one needs first comes first."""
        return list(self.commands)


class Root(Group):
    """All commands: ours, and those that installed packages bring."""

    @lazy
    def _plugins(self) -> dict[str, EntryPoint]:
        return {found.name: found for found in entry_points(group=PLUGINS)}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(dict.fromkeys([*self.commands, *sorted(self._plugins)]))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        if own is None and cmd_name in self._plugins:
            return _load(self._plugins[cmd_name])
        return own

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            name, command, rest = super().resolve_command(ctx, args)
        except click.UsageError as error:
            known = self.list_commands(ctx)
            raise click.UsageError(f"{error.message.rstrip('.')}{_close_to(args[0], known)}", ctx) from error
        url = session_of(ctx).url
        if url and command is not None and name not in self.commands and _takes_url(command):
            rest = ["--url", url, *rest]
        return name, command, rest


def _load(found: EntryPoint) -> click.Command:
    """Load a command of another package; one that is broken says so when it is used, and only then."""
    try:
        command = found.load()
    except Exception as error:
        return _broken(found, one_line(f"{type(error).__name__}: {error}"))
    return command if isinstance(command, click.Command) else _broken(found, "it is not a command")


def _broken(found: EntryPoint, why: str) -> click.Command:
    def tell(**_: Any) -> None:
        raise Problem(f"`{found.name}` cannot be loaded from {found.value}: {why}; reinstall what brings it")

    return click.Command(
        found.name,
        callback=tell,
        params=[click.Argument(["rest"], nargs=-1, type=click.UNPROCESSED)],
        help=f"Cannot be loaded: {why}",
        add_help_option=False,
        context_settings={"ignore_unknown_options": True},
    )


def _close_to(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=2)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _takes_url(command: click.Command) -> bool:
    return any("--url" in param.opts for param in command.params)
