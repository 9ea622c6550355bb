"""Mistakes end in one line, and other packages' commands cannot do harm."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from importlib.metadata import EntryPoint

import click
import pytest
from click.testing import CliRunner, Result

from executions.cli import commands, completion
from executions.cli.app import root
from executions.cli.session import session_of
from executions.errors import Conflict, InvalidQuery, NotFound, Unavailable
from executions.version import VERSION


def run(*arguments: str) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(root, arguments, prog_name="executions")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["lss"], "No such command 'lss'; did you mean ls?; see `executions --help`"),
        (["ls", "--foo"], "No such option '--foo'; see `executions ls --help`"),
        (["--foo"], "No such option '--foo'; see `executions --help`"),
        (["show"], "Missing argument 'ID'; see `executions show --help`"),
        (["show", ""], "it is empty"),
        (["wait", "x", "--timeout", "soon"], "'soon' is not a length of time"),
        (["run", "f", "-1"], "put -- in front of values that begin with a dash"),
        (["run", "f", "--logs", "--json"], "choose one"),
        (["run", "f", "--on-reset", "explode"], "'explode' is not one of"),
        (["run", "f", "--max-attempts", "0"], "not in the range"),
        (["run", "f", "-i", "x"], "'x' is not name=value"),
        (["ls", "--json", "--csv"], "choose one of --json, --csv and --quiet"),
        (["ls", "--status", "odd"], "'odd' is none of pending"),
        (["terminate"], "give either ids or --query"),
        (["terminate", "--query", " "], "an empty query would mean every execution"),
        (["terminate", "x", "--dry-run"], "--dry-run goes with --query or --tree"),
        (["terminate", "x", "--force", "--grace", "3"], "choose one"),
        (["rerun", "x", "--query", "y"], "give either ids or --query"),
        (["completion", "tcsh"], "'tcsh' is not one of"),
        (["--url", "nonsense", "ls"], "not a registry URL: 'nonsense'"),
        (["ls", "--url", "redis://:secret@host:port/0"], "not a registry URL: 'redis://:***@host:port/0'"),
    ],
)
def test_a_command_that_is_not_understood_is_told_in_one_line(arguments: list[str], told: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert told in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def raising(error: BaseException) -> click.Command:
    """Make a command that raises."""

    def fail() -> None:
        raise error

    return commands.Command("fail", callback=fail)


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (NotFound("no execution 'x'"), 1, "error: no execution 'x'; `executions ls` shows those there are\n"),
        (Conflict("it is running"), 1, "error: it is running\n"),
        (Unavailable("the registry's server cannot be reached: refused."), 1, "start one with `executions up`"),
        (Unavailable("the registry's server refused the password: no"), 1, "check the user and password"),
        (InvalidQuery("unknown field 'x'", 0), 2, "error: unknown field 'x' (at position 0)\n"),
        (KeyError("a\nb"), 1, "KeyError: 'a\\nb'; this should not happen, --debug shows where it did\n"),
        (OSError(28, "No space left on device"), 1, "error: the output: No space left on device\n"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 141, ""),
    ],
)
def test_whatever_happens_is_one_line_and_an_exit_code(
    error: BaseException, code: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(root.commands, "fail", raising(error))
    result = run("fail")
    assert result.exit_code == code
    assert told in result.stderr
    assert result.stderr.count("\n") == (1 if told else 0)


def test_debug_shows_where_it_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(root.commands, "fail", raising(KeyError("a")))
    assert isinstance(run("fail", "--debug").exception, KeyError)


def test_without_a_command_the_help_is_shown() -> None:
    result = run()
    assert result.exit_code == 0
    assert "Commands:" in result.stdout


def test_the_version() -> None:
    assert run("--version").stdout == f"executions {VERSION}\n"


@pytest.mark.parametrize("arguments", [["--url", "redis://h/1", "say"], ["say", "--url", "redis://h/1"]])
def test_global_options_stand_before_or_behind_the_command(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str | None] = []
    say = commands.Command("say", callback=lambda: said.append(session_of(click.get_current_context()).url))
    monkeypatch.setitem(root.commands, "say", say)
    assert run(*arguments).exit_code == 0
    assert said == ["redis://h/1"]


@click.command()
@click.option("--url")
def other(url: str | None) -> None:
    """Do something else."""
    click.echo(f"url={url}")


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have a command of another package, and two that are broken."""
    found = [
        EntryPoint("other", f"{__name__}:other", commands.PLUGINS),
        EntryPoint("lost", "nowhere.at.all:command", commands.PLUGINS),
        EntryPoint("odd", "executions.version:VERSION", commands.PLUGINS),
    ]
    monkeypatch.setattr(commands, "entry_points", lambda group: found)
    monkeypatch.setattr(commands, "_load", lambda one: other if one.name == "other" else load(one))
    root.__dict__.pop("_plugins", None)
    yield
    root.__dict__.pop("_plugins", None)


load = commands._load


@pytest.mark.usefixtures("plugins")
class TestPlugins:
    """Commands of other packages."""

    def test_they_are_listed_behind_ours(self) -> None:
        listed = run("--help").stdout.split("Commands:")[1]
        assert listed.index("completion") < listed.index("lost") < listed.index("other")
        assert "Do something else." in listed
        assert "Cannot be loaded: ModuleNotFoundError" in listed

    def test_they_are_told_the_url(self) -> None:
        assert run("--url", "redis://h/1", "other").stdout == "url=redis://h/1\n"
        assert run("--url", "redis://h/1", "other", "--url", "redis://h/2").stdout == "url=redis://h/2\n"
        assert run("other").stdout == "url=None\n"

    @pytest.mark.parametrize(("name", "why"), [("lost", "No module named 'nowhere'"), ("odd", "it is not a command")])
    def test_a_broken_one_says_so_when_it_is_used(self, name: str, why: str) -> None:
        result = run(name, "--with", "anything")
        assert result.exit_code == 1
        assert why in result.stderr
        assert result.stderr.count("\n") == 1

    def test_a_broken_one_keeps_nothing_from_working(self) -> None:
        assert run("completion", "bash").exit_code == 0


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_completion_scripts_call_the_command(shell: str) -> None:
    script = run("completion", shell).stdout
    assert "_EXECUTIONS_COMPLETE" in script


def test_completion_does_not_wait_for_a_server_that_hangs() -> None:
    gate = threading.Event()
    try:
        assert completion.in_time(lambda: [gate.wait(60)], patience_s=0.01) == []
    finally:
        gate.set()


def test_completion_offers_nothing_where_the_server_is_away() -> None:
    def fail() -> list[str]:
        raise Unavailable("no")

    assert completion.in_time(fail) == []
