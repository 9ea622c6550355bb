"""What every command works with: the client, where it writes, and what was said in front of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from functools import update_wrapper
from typing import Any, NoReturn

import click
from rich.console import Console, RenderableType
from rich.text import Text

from executions.celery.site import client_of
from executions.cli.documents import plain
from executions.client import Client
from executions.connect import connect
from executions.lazy import lazy

#: Where the session hangs on click's context, which under `celery` is shared with Celery.
_KEY = "executions.session"

#: Columns of what is not written to a terminal: nothing is cut there.
_UNLIMITED = 10_000


class Output(Console):
    """A console that prints what it is given: brackets and names of emoji in a log line are text."""

    def __init__(self, *, stderr: bool = False, no_color: bool = False) -> None:
        super().__init__(stderr=stderr, no_color=no_color or None, highlight=False, markup=False, emoji=False)
        if not self.is_terminal:
            self.width = _UNLIMITED

    def on_broken_pipe(self) -> NoReturn:
        raise BrokenPipeError


class Session:
    """One run of the command."""

    def __init__(self, app: Any = None, *, no_color: bool = False) -> None:
        #: The Celery app, where the command runs as `celery -A app executions`.
        self.app = app
        self.url: str | None = None
        self.namespace: str | None = None
        self.no_color = no_color
        self.debug = False
        #: How the command is called here, for what it says of itself.
        self.program = "executions"

    @lazy
    def client(self) -> Client:
        """The client; nothing is connected to before it is used."""
        return self.make_client()

    def make_client(self, **settings: Any) -> Client:
        """Make a client with further settings."""
        if self.app is not None:
            return client_of(self.app, self.url, namespace=self.namespace, **settings)
        return connect(self.url, namespace=self.namespace, **settings)

    @lazy
    def out(self) -> Output:
        """Where results go."""
        return Output(no_color=self.no_color)

    @lazy
    def err(self) -> Output:
        """Where everything goes that is not a result."""
        return Output(stderr=True, no_color=self.no_color)

    @property
    def is_interactive(self) -> bool:
        """Whether somebody sits there who can answer."""
        return sys.stdin.isatty() and self.err.is_terminal

    def print(self, *renderables: RenderableType) -> None:
        """Print for people."""
        for renderable in renderables:
            if self.out.is_terminal:
                self.out.print(renderable, soft_wrap=isinstance(renderable, str | Text))
            else:
                self._print_plain(renderable)

    def _print_plain(self, renderable: RenderableType) -> None:
        """Print without what only fills up a line, which on an unlimited one would be much."""
        with self.out.capture() as captured:
            self.out.print(renderable)
        self.lines(line.rstrip() for line in captured.get().splitlines())

    def write(self, text: str) -> None:
        """Print exactly this line."""
        sys.stdout.write(f"{text}\n")

    def json(self, value: Any) -> None:
        """Print one JSON document."""
        self.write(to_json(value, indent=2))

    def lines(self, texts: Iterable[str]) -> None:
        """Print many lines."""
        for text in texts:
            self.write(text)

    def hint(self, text: str) -> None:
        """Say what could be done next, to people only."""
        if self.out.is_terminal and self.err.is_terminal:
            self.err.print(text, style="dim", soft_wrap=True)

    def close(self) -> None:
        """Let go of the connections."""
        if "client" in self.__dict__:
            self.client.close()


def to_json(value: Any, indent: int | None = None) -> str:
    """Write JSON that the output's encoding can hold."""
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    return json.dumps(plain(value), indent=indent, ensure_ascii=not unicode)


def session_of(ctx: click.Context) -> Session:
    """Give the session of this run; the first who asks makes it."""
    found = ctx.meta.get(_KEY)
    if found is None:
        no_color = bool(getattr(ctx.obj, "no_color", False))
        found = ctx.meta[_KEY] = Session(getattr(ctx.obj, "app", None), no_color=no_color)
        ctx.find_root().call_on_close(found.close)
    assert isinstance(found, Session)
    return found


def pass_session(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command its session as the first argument."""

    def run(*args: Any, **kwargs: Any) -> None:
        command(session_of(click.get_current_context()), *args, **kwargs)

    return update_wrapper(run, command)


def global_options(hidden: bool = False) -> list[click.Option]:
    """Make the options that hold for every command; they may stand before or behind its name."""

    def keep(ctx: click.Context, option: click.Parameter, value: Any) -> None:
        if value and option.name:
            setattr(session_of(ctx), option.name, value)

    def option(*names: str, **settings: Any) -> click.Option:
        return click.Option(names, expose_value=False, hidden=hidden, callback=keep, **settings)

    return [
        option("--url", metavar="URL", help="Where the registry is.  [default: EXECUTIONS_URL, or the local server]"),
        option("--namespace", metavar="NAME", help="First part of every key.  [default: EXECUTIONS_NAMESPACE, or ex]"),
        option("--no-color", is_flag=True, help="Print without colours, as with NO_COLOR."),
        option("--debug", is_flag=True, help="Show a traceback where something went wrong."),
    ]
