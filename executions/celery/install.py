"""`install(app)`: makes every task of a Celery app an execution, with no other change in its code."""

from __future__ import annotations

from functools import partial
from typing import Any

from celery import Celery
from celery.app import backends
from celery.backends.base import DisabledBackend

from executions.celery.backend import RegistryBackend
from executions.celery.control import ExecutionsControl
from executions.celery.publish import MACHINERY, Call, RecordingAMQP, calling
from executions.celery.recording import recorded
from executions.celery.site import Site, site_of
from executions.celery.task import adopt_all
from executions.client import Client
from executions.dispatch import accept_valkey_urls, plain_broker_url, use_broker
from executions.ids import new_id

#: The worker's part, by name: a client process never imports it.
FLEET_STEP = "workers.bootsteps.fleet:Fleet"


def install(app: Celery, registry: str | None = None) -> Client:
    """Make every task of `app` an execution and give a client for its registry.

    The registry is where the app's broker is, if that is Redis or Valkey; otherwise name it here or in
    `EXECUTIONS_URL`. Nothing is connected to before the first use. Installing twice changes nothing.
    """
    site = site_of(app)
    if site is None:
        site = app._executions_site = Site(app, registry)
        accept_valkey_urls()
        _replace_parts(app, site)
        adopt_all(site)
        app.steps["worker"].add(FLEET_STEP)
    return site.client


def _replace_parts(app: Celery, site: Site) -> None:
    """Put our parts where Celery makes its own from."""
    app.amqp_cls = RecordingAMQP
    app.control_cls = ExecutionsControl
    for made in ("amqp", "control"):
        app.__dict__.pop(made, None)
    app._get_backend = partial(_make_backend, app)
    app._backend_cache = None
    vars(app._local).pop("backend", None)
    app.send_task = partial(_send_task, app, app.send_task)
    app.on_after_configure.connect(partial(_known_broker, app), weak=False)


def _make_backend(app: Celery) -> Any:
    """Make the registry the result backend, or lay the recording over the one that is configured."""
    configured = app.backend_cls or app.conf.result_backend
    if not configured:
        return RegistryBackend(app)
    kind, url = backends.by_url(configured, app.loader)
    if issubclass(kind, DisabledBackend):
        return RegistryBackend(app)
    return recorded(kind)(app=app, url=url)


def _send_task(
    app: Celery, send: Any, name: str, args: Any = None, kwargs: Any = None, *rest: Any, **options: Any
) -> Any:
    """Give an execution an id of ours, which sorts by time, where the caller chose none."""
    if rest or name in MACHINERY:
        return send(name, args, kwargs, *rest, **options)
    is_fresh = not options.get("task_id")
    if is_fresh:
        options["task_id"] = new_id()
    token = calling.set(Call(str(options["task_id"]), is_fresh, options.get("countdown")))
    try:
        return send(name, args, kwargs, *rest, **options)
    finally:
        calling.reset(token)


def _known_broker(app: Celery, **_: Any) -> None:
    """Write a broker of one of our schemes as the URL that Flower and kombu's helpers look for."""
    url = app.conf.broker_url
    if isinstance(url, str) and "+sentinel" in url.partition("://")[0]:
        use_broker(app, url)
    elif isinstance(url, str):
        app.conf.broker_url = plain_broker_url(url)
