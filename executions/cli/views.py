"""`views`: lists that are kept under a name."""

from __future__ import annotations

from typing import Any

import click

from executions.cli import render
from executions.cli.commands import Group
from executions.cli.documents import plain
from executions.cli.problems import pointing_into
from executions.cli.render import Column, Cut
from executions.cli.session import Session, pass_session
from executions.view import View

_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
_name = click.argument("name")

_VIEWS = (
    Column("ID", lambda row: row[0].id),
    Column("NAME", lambda row: row[0].name),
    Column("COUNT", lambda row: "" if row[1] is None else str(row[1]), right=True),
    Column("OWNER", lambda row: _owner(row[0]), cut=Cut.END),
    Column("SORT", lambda row: row[0].sort),
    Column("QUERY", lambda row: row[0].query, cut=Cut.END),
    Column("COLUMNS", lambda row: ",".join(row[0].columns), wide_from=120, cut=Cut.END),
)


def _owner(view: View) -> str:
    return "-" if view.is_system else f"{view.owner}, shared" if view.shared else view.owner


@click.group(cls=Group)
def views() -> None:
    """Keep lists under a name."""


@views.command("list")
@_json
@pass_session
def list_views(session: Session, as_json: bool) -> None:
    """List the views, with how many are in each.

    There are the system's, your own and the shared ones. COUNT is as of the last minute, where an index
    knows it.
    """
    found = session.client.views.list()
    counts = session.client.views.counts(found)
    if as_json:
        session.json([plain(view) | {"count": counts.get(view.id)} for view in found])
    else:
        render.table(session.out, _VIEWS, [(view, counts.get(view.id)) for view in found])


@views.command("save")
@_name
@click.argument("query", nargs=-1)
@click.option("--sort", metavar="KEY", default="-created", show_default=True, help="As for `ls`.")
@click.option("--columns", metavar="NAMES", default="", help="As for `ls`.")
@click.option("--shared", is_flag=True, help="Let everybody see it.")
@pass_session
def save_view(session: Session, name: str, query: tuple[str, ...], sort: str, columns: str, shared: bool) -> None:
    """Keep a list under a name.

    There is room for 50 views of one owner, and 500 in all.
    """
    asked = " ".join(query)
    with pointing_into(asked):
        made = session.client.views.create(name, asked, sort=sort, columns=columns, shared=shared)
    session.write(made.id)


@views.command("change")
@_name
@click.option("--name", "new_name", metavar="NAME", help="The new name.")
@click.option("--query", metavar="QUERY", help="The new query.")
@click.option("--sort", metavar="KEY", help="As for `ls`.")
@click.option("--columns", metavar="NAMES", help="As for `ls`; empty for those that are shown anyway.")
@click.option("--shared/--own", default=None, help="Let everybody see it, or you alone.")
@pass_session
def change_view(session: Session, name: str, new_name: str | None, **given: Any) -> None:
    """Change a view of your own, or a shared one."""
    changes = {key: value for key, value in {"name": new_name, **given}.items() if value is not None}
    if not changes:
        raise click.UsageError("say what to change: --name, --query, --sort, --columns, --shared, --own")
    with pointing_into(str(changes.get("query", ""))):
        changed = session.client.views.change(session.client.views.get(name), **changes)
    session.write(f"{changed.name} is at version {changed.version}")


@views.command("remove")
@_name
@pass_session
def remove_view(session: Session, name: str) -> None:
    """Remove a view of your own, or a shared one."""
    found = session.client.views.get(name)
    session.client.views.remove(found)
    session.write(f"{found.name} is gone")
