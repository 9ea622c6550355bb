"""`make_app()`: the pages and the API over one client, to run by itself or to mount in another application."""

from __future__ import annotations

from fastapi import FastAPI

from executions.client import Client
from executions.server import api, pages, plain, problems
from executions.server.api.schema import describe_api, operation_id
from executions.server.audit import Audited
from executions.server.carrying import Carrying
from executions.server.live import routes as live
from executions.server.live.hub import Hub
from executions.server.security.asking import Access
from executions.server.security.envelope import Envelope
from executions.version import VERSION


def make_app(client: Client, *, prefix: str = "", access: Access | None = None) -> FastAPI:
    """Make the application. It keeps nothing: any number of them may run over one registry.

    `prefix` is the path below which it is reached, where a proxy in front has one; an application that mounts it
    needs none.
    """
    app = FastAPI(
        title="Executions",
        version=VERSION,
        root_path=prefix.rstrip("/"),
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=operation_id,
    )
    app.state.client = client
    app.state.access = access = access or Access()
    app.state.live = Hub(client)
    app.state.carrying = Carrying(client)
    problems.install(app)
    for router in (*api.ROUTERS, live.router, plain.router, pages.router):
        app.include_router(router)
    describe_api(app)
    # The last one that is added is the outermost.
    app.add_middleware(Audited, client=client, access=access)
    app.add_middleware(Envelope)
    return app
