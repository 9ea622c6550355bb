"""`user`, `token` and `audit`: who is let in to the page and the API, and what they did there."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from executions.access import Role
from executions.cli import render
from executions.cli.commands import Command, Group
from executions.cli.documents import rfc3339
from executions.cli.render import Column, Cut
from executions.cli.session import Session, pass_session

_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
_name = click.argument("name")
_role = click.option(
    "--role",
    type=click.Choice([str(role) for role in Role]),
    default=str(Role.VIEW),
    show_default=True,
    help="What may be done: read; and run, stop, tag; and change services and users.",
)
_password = click.option(
    "--password-file",
    type=click.File(),
    metavar="FILE",
    help="Where the password is read from, - for stdin.  [default: asked for]",
)

_PEOPLE = (
    Column("NAME", lambda one: one.name),
    Column("ROLE", lambda one: one.role),
    Column("CREATED", lambda one: rfc3339(one.created)),
    Column("BY", lambda one: one.created_by, cut=Cut.END),
)
_TOKENS = (*_PEOPLE, Column("EXPIRES", lambda one: rfc3339(one.expires) or "never"))
_ENTRIES = (
    Column("TIME", lambda one: rfc3339(one.timestamp)),
    Column("WHO", lambda one: one.who, cut=Cut.END),
    Column("ACTION", lambda one: one.action),
    Column("TARGET", lambda one: one.target, cut=Cut.END),
    Column("RESULT", lambda one: one.result),
    Column("DETAIL", lambda one: one.detail, cut=Cut.END),
)


@click.group(cls=Group)
def user() -> None:
    """Add, list and remove those who can sign in on the page."""


@user.command("add")
@_name
@_role
@_password
@pass_session
def add_user(session: Session, name: str, role: str, password_file: Any) -> None:
    """Add a user."""
    made = session.client.people.add_user(name, role, _read_password(password_file))
    session.write(f"{made.name} can sign in, with the role {made.role}")


@user.command("list")
@_json
@pass_session
def list_users(session: Session, as_json: bool) -> None:
    """List the users."""
    render.listing(
        session,
        _PEOPLE,
        session.client.people.users(),
        as_json=as_json,
        empty="no users yet; `user add NAME` makes one",
    )


@user.command("change")
@_name
@click.option("--role", type=click.Choice([str(role) for role in Role]), help="The new role.")
@click.option("--password", "new_password", is_flag=True, help="Take a new password; sessions end.")
@_password
@pass_session
def change_user(session: Session, name: str, role: str | None, new_password: bool, password_file: Any) -> None:
    """Change a user's role or password."""
    password = _read_password(password_file) if new_password or password_file else None
    if role is None and password is None:
        raise click.UsageError("say what to change: --role or --password")
    changed = session.client.people.change_user(name, role=role, password=password)
    session.write(f"{changed.name} has the role {changed.role}{' and a new password' if password else ''}")


@user.command("remove")
@_name
@pass_session
def remove_user(session: Session, name: str) -> None:
    """Remove a user, and end the user's sessions."""
    session.client.people.remove_user(name)
    session.write(f"{name} can sign in no more")


@click.group(cls=Group)
def token() -> None:
    """Make, list and remove what programs show to be let in."""


@token.command("create")
@_name
@_role
@click.option("--days", type=click.IntRange(1, 36525), help="How long it lasts.  [default: until it is removed]")
@pass_session
def create_token(session: Session, name: str, role: str, days: int | None) -> None:
    """Make a token and print it. It is not kept and cannot be shown again."""
    session.write(session.client.people.create_token(name, role, timedelta(days=days) if days else None))


@token.command("list")
@_json
@pass_session
def list_tokens(session: Session, as_json: bool) -> None:
    """List the tokens, without their secrets."""
    render.listing(
        session,
        _TOKENS,
        session.client.people.tokens(),
        as_json=as_json,
        empty="no tokens yet; `token create NAME` makes one",
    )


@token.command("remove")
@_name
@pass_session
def remove_token(session: Session, name: str) -> None:
    """Remove a token; it is refused from then on."""
    session.client.people.remove_token(name)
    session.write(f"{name} is let in no more")


@token.command("revoke-links")
@pass_session
def revoke_links(session: Session) -> None:
    """End all links to inputs and outputs that there are."""
    session.client.payloads.revoke()
    session.write("links that were made until now hold no more")


@click.command(cls=Command)
@click.option("--limit", "-n", type=click.IntRange(1, 500), default=50, show_default=True, help="How many at most.")
@click.option("--who", default="", metavar="NAME", help="What this one did only.")
@_json
@pass_session
def audit(session: Session, limit: int, who: str, as_json: bool) -> None:
    """List what was done on the page and the API, newest first."""
    found = session.client.audit.list(limit, who=who)
    render.listing(session, _ENTRIES, found, as_json=as_json, empty="nothing was done there yet")


def _read_password(file: Any) -> str:
    if file is not None:
        return str(file.read()).rstrip("\r\n")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
