"""`services`: what is deployed, under which policy; pausing it and changing the policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import click
from click.shell_completion import CompletionItem
from rich.padding import Padding
from rich.text import Text

from executions.cli import render
from executions.cli.commands import Group
from executions.cli.completion import in_time
from executions.cli.documents import plain
from executions.cli.render import Column, Cut
from executions.cli.session import Session, pass_session, session_of
from executions.cli.values import Pair
from executions.execution import human_duration
from executions.service import SETTING_NAMES, Service, ServiceSettings


class ServiceName(click.ParamType):
    """The name of a service."""

    name = "service"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        session = session_of(ctx)
        found = in_time(lambda: [service.name for service in session.client.services.list()])
        return [CompletionItem(name) for name in found if name.startswith(incomplete)]


_name = click.argument("name", type=ServiceName())
_names = click.argument("names", metavar="NAME...", nargs=-1, required=True, type=ServiceName())
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def _state(service: Service) -> Text:
    return Text("paused", "yellow") if service.paused else Text("active", "green")


_COLUMNS = (
    Column("NAME", lambda service: service.name),
    Column("STATE", _state),
    Column("VERSION", lambda service: str(service.version), right=True),
    Column("LIMIT", lambda service: human_duration(service.execution_timeout), right=True),
    Column("ON RESET", lambda service: str(service.on_reset)),
    Column("AT ONCE", lambda service: str(service.concurrency or "any"), right=True),
    Column("FUNCTIONS", lambda service: ", ".join(service.functions), cut=Cut.END),
    Column("QUEUE", lambda service: service.queue or "", wide_from=120, cut=Cut.END),
)


@click.group(cls=Group, invoke_without_command=True)
@click.pass_context
def services(ctx: click.Context) -> None:
    """List services, change their policies, pause them."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_services)


@services.command("list")
@_json
@pass_session
def list_services(session: Session, as_json: bool = False) -> None:
    """List the services."""
    found, empty = session.client.services.list(), "no services yet; client.services.deploy(...) makes one"
    render.listing(session, _COLUMNS, found, as_json=as_json, empty=empty, document=_document)


@services.command("show")
@_name
@_json
@pass_session
def show_service(session: Session, name: str, as_json: bool) -> None:
    """Show one service with all its settings."""
    _print(session, session.client.services.get(name), as_json)


@services.command("pause")
@_names
@_json
@pass_session
def pause_services(session: Session, names: tuple[str, ...], as_json: bool) -> None:
    """Let nothing more of a service start; what runs goes on."""
    _each(session, names, as_json, lambda service: service.pause())


@services.command("resume")
@_names
@_json
@pass_session
def resume_services(session: Session, names: tuple[str, ...], as_json: bool) -> None:
    """Let the waiting executions of a service start."""
    _each(session, names, as_json, lambda service: service.resume())


@services.command("set")
@_name
@click.argument("settings", metavar="SETTING=VALUE...", nargs=-1, required=True, type=Pair())
@click.option("--force", is_flag=True, help="End what runs under the old settings at once.")
@_json
@pass_session
def set_service(session: Session, name: str, settings: tuple[tuple[str, Any], ...], force: bool, as_json: bool) -> None:
    """Change settings of a service, which makes a new version of it.

    Such as execution_timeout=7200 on_reset=rerun concurrency=4; null takes a setting away.
    """
    service = session.client.services.get(name)
    for setting, value in settings:
        if setting not in SETTING_NAMES:
            raise click.UsageError(
                f"no setting {setting!r}; there are {', '.join(sorted(SETTING_NAMES))}",
                click.get_current_context(),
            )
        setattr(service, setting, value)
    _print(session, service.update(force=force), as_json)


def _each(session: Session, names: tuple[str, ...], as_json: bool, act: Callable[[Service], Service]) -> None:
    done = [act(session.client.services.get(name)) for name in names]
    if as_json:
        session.json([_document(service) for service in done])
        return
    for service in done:
        session.print(Text.assemble(f"{service.name}  ", _state(service)))


def _settings(service: Service) -> dict[str, Any]:
    return {name: getattr(service, name) for name in asdict(ServiceSettings())}


def _document(service: Service) -> dict[str, Any]:
    return {
        "name": service.name,
        "id": service.id,
        "version": service.version,
        "paused": service.paused,
        "functions": list(service.functions),
        "created": plain(service.created),
        "updated": plain(service.updated),
        "updated_by": service.updated_by,
        "settings": plain(_settings(service)),
    }


def _print(session: Session, service: Service, as_json: bool) -> None:
    if as_json:
        session.json(_document(service))
        return
    session.print(Text.assemble((service.name, "bold"), "  ", _state(service), f"  version {service.version}"))
    pairs = [
        ("functions", ", ".join(service.functions)),
        ("created", render.when(service.created, session.out)),
        ("updated", render.when(service.updated, session.out)),
        ("updated by", service.updated_by),
    ]
    shown = [(name, render.value_text(value)) for name, value in _settings(service).items() if value is not None]
    session.print(Padding(render.facts(pairs), (0, 0, 0, 2), expand=False))
    render.section(session, "Settings", render.facts(shown))
