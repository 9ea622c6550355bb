"""Completion: the scripts for the shells, and the ids and names that are offered."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from executions.cli.commands import Command
from executions.cli.session import Session, pass_session, session_of

SHELLS = ("bash", "zsh", "fish")

#: Seconds that a shell waits for names; a server that is away must not make it hang.
PATIENCE_S = 0.8

#: How many executions are offered, the newest.
OFFERED = 30


class ExecutionId(click.ParamType):
    """An execution, by its id or its number."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not str(value).strip():
            self.fail("it is empty; was a variable never set?", param, ctx)
        return str(value).strip()

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        session = session_of(ctx)
        found = in_time(lambda: list(session.client.executions.list(limit=OFFERED).items))
        return [
            CompletionItem(one.id, help=f"{one.status} {one.function}")
            for one in found
            if one.id.startswith(incomplete)
        ]


class FunctionName(click.ParamType):
    """The name of a function: any, as only the workers know them all; those that ran before are offered."""

    name = "function"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        session = session_of(ctx)
        names = in_time(lambda: list(session.client.executions.facets(by=["function"])["function"]))
        return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]


def in_time(ask: Callable[[], list[Any]], patience_s: float = PATIENCE_S) -> list[Any]:
    """Ask, and give nothing where that fails or takes too long."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.extend(ask())
        except Exception:  # a shell that completes has nowhere to show an error
            pass

    # Left behind where it hangs: the process ends without it.
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(patience_s)
    return list(found)


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(SHELLS))
@pass_session
def completion(session: Session, shell: str) -> None:
    """Print what makes a shell complete our commands.

    \b
    bash:  executions completion bash >> ~/.bashrc
    zsh:   executions completion zsh >> ~/.zshrc
    fish:  executions completion fish > ~/.config/fish/completions/executions.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    root = click.get_current_context().find_root().command
    script = kind(root, {}, "executions", "_EXECUTIONS_COMPLETE")
    # Not `source()`, which would run bash to look at its version.
    session.write(script.source_template % script.source_vars())
