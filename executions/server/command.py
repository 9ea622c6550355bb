"""`executions serve`: the page and the API as a process of their own."""

from __future__ import annotations

import ipaddress
import socket

import click

from executions.cli.commands import Command
from executions.cli.problems import Misuse, Problem
from executions.cli.session import Session, pass_session
from executions.client import Client
from executions.settings import Settings

try:
    import uvicorn

    from executions.access import Role
    from executions.server.app import make_app
    from executions.server.heads import LONGEST_HEAD, HeadProtocol
    from executions.server.security.asking import Access

    _missing = ""
except ImportError as error:  # the extra is not installed; every other command works without it
    _missing = str(error)

#: Where the page is looked for first; where that port is taken, on a free one.
USUAL_PORT = 5560

#: Seconds that the registry may be away before a request is told so, unless EXECUTIONS_PATIENCE_S says otherwise:
#: somebody sits in front of the page.
PATIENCE_S = 2.0

#: Connections that wait to be taken.
BACKLOG = 2048

#: Seconds that requests have to end when the server is stopped.
STOP_S = 5


@click.command(cls=Command)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), help="The port.  [default: 5560, or a free one]")
@click.option("--prefix", default="", metavar="PATH", help="The path below which a proxy in front has it.")
@click.option("--user-header", default="", metavar="NAME", help="The header in which a proxy names who asks.")
@click.option("--proxy", "proxies", multiple=True, metavar="IP", help="A proxy to believe.  [default: this machine]")
@click.option(
    "--proxy-role", type=click.Choice(["view", "operate", "admin"]), help="The role of those who are no users of ours."
)
@pass_session
def serve(
    session: Session,
    host: str,
    port: int | None,
    prefix: str,
    user_header: str,
    proxies: tuple[str, ...],
    proxy_role: str | None,
) -> None:
    """Serve the page and the HTTP API.

    Listens on this machine only, unless there are users or tokens, or a proxy in front tells who asks.
    """
    if _missing:
        raise Problem(f"the server is not installed ({_missing}); pip install 'executions[server]'")
    if prefix and not prefix.startswith("/"):
        raise Misuse(f"a prefix begins with a slash: /{prefix}")
    if proxy_role and not user_header:
        raise Misuse("--proxy-role goes with --user-header")
    client = patient_client(session)
    if not (is_loopback(host) or user_header or client.people.is_anybody()):
        raise Problem(
            f"nobody could sign in, so {host} is not listened on; make a user first with `{session.program} user add`, "
            "or name the header of a proxy with --user-header"
        )
    access = Access(
        user_header=user_header,
        proxies=proxies or Access.proxies,
        proxy_role=Role(proxy_role) if proxy_role else None,
    )
    listener = listen(host, port)
    app = make_app(client, prefix=prefix, access=access)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, proxy_headers=False,
        timeout_graceful_shutdown=STOP_S, lifespan="off", http=HeadProtocol,
        h11_max_incomplete_event_size=LONGEST_HEAD,
    )  # fmt: skip
    app.state.carrying.wake()  # what a process before this one left undone
    click.echo(f"serving on {address_of(listener)}{prefix}")  # at once, also into a pipe
    uvicorn.Server(config).run(sockets=[listener])


def patient_client(session: Session) -> Client:
    """Give the session's client, with less patience than a program has."""
    is_set = session.client.settings.patience_s != Settings.patience_s
    return session.client if is_set else session.make_client(patience_s=PATIENCE_S)


def listen(host: str, port: int | None) -> socket.socket:
    """Take the port that was asked for, or else the usual one, or else a free one."""
    for tried in (USUAL_PORT, 0) if port is None else (port,):
        try:
            return _listener(host, tried)
        except OSError as error:
            if tried != USUAL_PORT or port is not None:
                raise Problem(f"cannot listen on {host} port {tried}: {error.strerror or error}") from error
    raise AssertionError("a free port is always tried last")


def _listener(host: str, port: int) -> socket.socket:
    # With its protocol named: asyncio sends small pieces at once on such sockets only, and on others each answer
    # waits forty milliseconds for the client's receipt of its head.
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def address_of(listener: socket.socket) -> str:
    """Give the address that people type."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
