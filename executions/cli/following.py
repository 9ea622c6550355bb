"""`watch` and `open`: what happens, as it happens, and the page of one execution."""

from __future__ import annotations

import queue
import signal
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from rich.console import Group
from rich.live import Live
from rich.text import Text

from executions.cli import render
from executions.cli.commands import Command
from executions.cli.completion import ExecutionId
from executions.cli.documents import rfc3339, summary
from executions.cli.listing import COLUMNS
from executions.cli.problems import pointing_into
from executions.cli.session import Session, pass_session, to_json
from executions.clock import SYSTEM_CLOCK
from executions.errors import Unavailable
from executions.execution import Execution
from executions.query import parse
from executions.query.tree import quote

#: Seconds that changes are gathered before those that match are looked up, and how many of them at once.
WINDOW_S = 0.2
AT_ONCE = 50

#: Seconds after which a list on a terminal is read again although nothing happened, for its ages.
AGAIN_S = 5.0

#: Seconds between two looks for a registry that is away, and what is said of it.
LOOK_S = 1.0
AWAY = "the registry is away; this goes on when it is back"

Event = dict[str, Any]

T = TypeVar("T")


@click.command(cls=Command)
@click.argument("query", nargs=-1)
@click.option("--limit", "-n", type=click.IntRange(1, 200), default=20, show_default=True, help="Rows of the list.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line, for each change.")
@pass_session
def watch(session: Session, query: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Watch the executions that match, until Ctrl-C.

    On a terminal it is a list that is kept up to date. Otherwise each change is a line: time, id, status, reason,
    function. What is printed has changed and matches QUERY then.
    """
    asked = " ".join(query).strip() or None
    with pointing_into(asked):
        parse(asked or "")
        session.client.executions.list(asked, limit=1)
    changes = _Changes(session)
    if session.out.is_terminal and not as_json:
        _list(session, changes, asked, limit)
        return
    for events in changes.windows():
        matching = _patiently(changes, lambda: _matching(session, asked, events))  # noqa: B023
        for event in events:
            if event["id"] is None:
                session.err.print(event["message"])
            elif event["id"] in matching:
                _tell(session, event, matching[event["id"]], as_json)
        session.out.file.flush()


class _Changes:
    """What happens from now on, read by a thread of its own, so that it can be waited for with an end.

    Where the registry is away it goes on from where it was as soon as that is back; both are told like events without
    an id.
    """

    def __init__(self, session: Session) -> None:
        self._client = session.client
        self._feed = session.client.executions.events(follow=True, since="now")
        self._read: queue.SimpleQueue[Event | Exception | None] = queue.SimpleQueue()
        self._pause = threading.Event()
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        while True:
            try:
                for event in self._feed:
                    self._read.put(event)
            except Unavailable:
                self._read.put({"id": None, "message": AWAY})
            except Exception as error:  # told where it is waited for
                self._read.put(error)
                return
            self._await_registry()
            self._read.put({"id": None, "message": "the registry is back"})
            self._feed = self._client.executions.events(follow=True, since=self._feed.cursor)

    def _await_registry(self) -> None:
        while not self._pause.wait(LOOK_S):
            try:
                self._client.ping()
            except Unavailable:
                continue
            return

    def wake(self) -> None:
        """Have whoever waits look again; may be called where a signal interrupts anything."""
        self._read.put(None)

    def take(self, wait_s: float | None) -> list[Event]:
        """Wait for a change, and give what came within a window; nothing when the time is over."""
        try:
            found = [self._read.get(timeout=wait_s)]
        except queue.Empty:
            return []
        deadline = SYSTEM_CLOCK.monotonic() + WINDOW_S
        while len(found) < AT_ONCE and (left := deadline - SYSTEM_CLOCK.monotonic()) > 0:
            try:
                found.append(self._read.get(timeout=left))
            except queue.Empty:
                break
        for one in found:
            if isinstance(one, Exception):
                raise one
        return [one for one in found if isinstance(one, dict)]

    def windows(self) -> Iterator[list[Event]]:
        """Give what happens, for ever."""
        while True:
            yield self.take(None)

    def rest(self) -> None:
        """Wait a little before the registry is asked again."""
        self._pause.wait(LOOK_S)


def _patiently(changes: _Changes, ask: Callable[[], T]) -> T:
    """Ask until there is an answer."""
    while True:
        try:
            return ask()
        except Unavailable:
            changes.rest()


def _matching(session: Session, query: str | None, events: list[Event]) -> dict[str, Execution]:
    ids = dict.fromkeys(event["id"] for event in events if event["id"] is not None)
    if not ids:
        return {}
    these = f"id:{','.join(map(quote, ids))}"
    found = session.client.executions.list(f"({query}) AND {these}" if query else these, limit=AT_ONCE)
    return {one.id: one for one in found}


def _tell(session: Session, event: Event, execution: Execution, as_json: bool) -> None:
    if as_json:
        told = ("status", "reason", "attempt", "message", "timestamp")
        session.write(to_json(summary(execution) | {"change": {name: event[name] for name in told}}))
    else:
        words = (rfc3339(event["timestamp"]), event["id"], event["status"], event["reason"] or "-", event["function"])
        session.write(" ".join(map(render.safe, words)))


def _list(session: Session, changes: _Changes, query: str | None, limit: int) -> None:
    """Keep a list up to date on a screen of its own: whatever its size, nothing of an earlier picture stays."""
    rows, said, out = list[Text](), "", session.out
    try:
        with _signals(changes), Live(console=out, screen=True, auto_refresh=False) as live:
            while True:
                room = max(1, min(limit, out.height - 2))
                try:
                    # Not printed, as all that is printed meanwhile has the picture before in it.
                    rows = list(render.table_lines(out, COLUMNS, session.client.executions.list(query, limit=room)))
                    said = f"{query or 'all'}, the newest {room}; Ctrl-C ends this"
                except Unavailable:
                    said = AWAY
                for row in rows:  # an id is never cut, so a narrow terminal has room for no more than that
                    row.no_wrap, row.overflow = True, "crop"
                live.update(Group(*rows, Text(said, "dim")), refresh=True)
                changes.take(AGAIN_S if said != AWAY else LOOK_S)
    except KeyboardInterrupt:
        # The screen is gone; what was last on it stays.
        for row in rows:
            out.print(row, soft_wrap=True)
        raise


@contextmanager
def _signals(changes: _Changes) -> Iterator[None]:
    """Draw anew when the terminal's size changes; when the process is told to end, leave the terminal as it was."""

    def leave(number: int, _: Any) -> None:
        raise SystemExit(128 + number)

    handlers: dict[signal.Signals, Any] = {signal.SIGTERM: leave, signal.SIGHUP: leave}
    handlers[signal.SIGWINCH] = lambda *_: changes.wake()
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@click.command("open", cls=Command)
@click.argument("execution_id", metavar="ID", type=ExecutionId())
@click.option("--print", "only_print", is_flag=True, help="Print the address and open nothing.")
@pass_session
def open_page(session: Session, execution_id: str, only_print: bool) -> None:
    """Print the address of an execution's page, and open it.

    Where the page is says EXECUTIONS_CONSOLE. Without a terminal the address is printed, and that is all.
    """
    execution = session.client.executions.find(execution_id)
    session.write(execution.url)
    if session.out.is_terminal and not only_print and not webbrowser.open(execution.url):
        session.hint("no browser was found here")
