"""The reference of the command line tells of every command and every option, and of none that is not there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from executions.cli.app import root
from executions.cli.session import global_options

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"


def commands(group: click.Group = root, path: str = "executions") -> Iterator[tuple[str, click.Command]]:
    """Give every command of our own with how it is called."""
    for name, command in group.commands.items():
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")


def section(title: str) -> str:
    """Give the text below a heading, up to the next one."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", REFERENCE.read_text(), re.M | re.S)
    assert found, f"docs/reference/cli.md has no section {title!r}"
    return found[1]


def documented(text: str) -> set[str]:
    """Give the options that the tables of a section tell of."""
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `-")]
    return {option for cell in cells for option in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", cell)}


def options(command: click.Command) -> set[str]:
    """Give the options of a command that its help shows."""
    return {
        name for param in command.params if isinstance(param, click.Option) and not param.hidden for name in param.opts
    }


@pytest.mark.parametrize(("path", "command"), list(commands()), ids=[path for path, _ in commands()])
def test_the_reference_tells_of_the_command_and_its_options(path: str, command: click.Command) -> None:
    assert documented(section(path)) == options(command)


def test_the_reference_tells_of_the_global_options() -> None:
    ours = {name for option in global_options() for name in option.opts}
    assert documented(section("Options of every command")) == ours | {"--version", "--help"}


@pytest.mark.parametrize(("path", "command"), list(commands()), ids=[path for path, _ in commands()])
def test_every_command_and_option_explains_itself(path: str, command: click.Command) -> None:
    assert command.help
    assert "..." not in command.get_short_help_str(62), "too long for the list of commands"
    silent = [param.name for param in command.params if isinstance(param, click.Option) and not param.help]
    assert silent == []
