"""The app below a path: behind a proxy with a prefix, and inside of somebody else's application."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import httpx
import pytest
import uvicorn
from fastapi import Depends, FastAPI

from executions import connect
from executions.access import Role, Who
from executions.server.app import make_app
from executions.server.security.asking import Access
from executions.server.security.require import require
from tests.web import served


@contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """Run an application in a thread, as its own server would."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=10)


def check_addresses(client: httpx.Client, below: str, execution_id: str) -> None:
    """Look at every kind of address that the app gives of itself."""
    page = client.get("/api/v1/executions?limit=1")
    assert page.links["next"]["url"].startswith(f"{below}/api/v1/executions?limit=1&cursor=")
    assert client.get("/api/v1/executions/nothing").json()["type"] == f"{below}/problems/not-found"
    sent = client.post(f"/api/v1/executions/{execution_id}/relaunch")
    assert sent.headers["location"] == f"{below}/api/v1/executions/{sent.json()['id']}"
    assert client.get("/api/openapi.json").json()["servers"] == [{"url": below}]
    assert f'action="{below}/login"' in client.get("/login").text


@pytest.mark.parametrize("strips", [True, False], ids=["a proxy that strips it", "a proxy that does not"])
def test_the_app_is_served_below_the_prefix_of_a_proxy(
    server_url: str, namespace: str, tmp_path: Path, strips: bool
) -> None:
    with connect(server_url, namespace=namespace) as client:
        first, _ = client.submit("x.y"), client.submit("x.y")
        with (
            served(server_url, namespace, "--prefix", "/ops", folder=tmp_path) as started,
            httpx.Client(base_url=started.url.removesuffix("/ops") + ("" if strips else "/ops")) as asked,
        ):
            assert started.url.endswith("/ops")
            check_addresses(asked, "/ops", first.id)


def test_an_error_that_nobody_expected_is_a_problem_and_on_record(
    server_url: str, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(server_url, namespace=namespace) as client:
        app = make_app(client)

        @app.post("/broken", name="broken")
        def broken(who: Annotated[Who, Depends(require("operate"))]) -> None:
            raise RuntimeError("the secret is 4711")

        with running(app) as url:
            answer = httpx.post(f"{url}/broken", headers={"X-Request-ID": "mine-2"})
        assert (answer.status_code, answer.json()["type"]) == (500, "/problems/internal")
        assert "4711" not in answer.text
        assert answer.headers["content-security-policy"]
        (entry,) = client.audit.list()
        assert (entry.action, entry.result, entry.request_id) == ("broken", "failed: 500", "mine-2")
        assert any("server.failed request=mine-2" in record.message for record in caplog.records)


def test_the_app_is_mounted_in_an_application_that_knows_who_asks(server_url: str, namespace: str) -> None:
    with connect(server_url, namespace=namespace) as client:
        first, _ = client.submit("x.y"), client.submit("x.y")
        known = {"ann": Who("ann", Role.OPERATE, "shop")}
        host = FastAPI()
        host.mount(
            "/ops",
            make_app(
                client, access=Access(recognise=lambda request: known.get(request.headers.get("x-shop-user", "")))
            ),
        )
        with (
            running(host) as url,
            httpx.Client(base_url=f"{url}/ops", headers={"X-Shop-User": "ann"}) as asked,
        ):
            assert asked.get("/api/v1/me").json() == {"name": "ann", "role": "operate", "by": "shop"}
            check_addresses(asked, "/ops", first.id)
            # Whom the application does not know is nobody, at this machine too
            assert asked.get("/api/v1/me", headers={"X-Shop-User": "bob"}).status_code == 401
            assert asked.get("/api/v1/audit").status_code == 403
        done, *_ = client.audit.list()
        assert (done.who, done.action) == ("ann", "relaunch_execution")
