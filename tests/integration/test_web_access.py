"""Who may do what over HTTP: every route for every role and for nobody, and what a browser may be made to do."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from typing import Any

import httpx
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from executions import Client, connect
from executions.access import Role
from executions.client.people import LOGIN_TRIES, SOURCE_TRIES
from executions.server.app import make_app
from executions.server.security.require import Needs
from tests.conftest import StartServer
from tests.web import ROOT, Web, bearer, served

#: What everybody may see: what documents the API, and what is needed before one is known.
OPEN = {
    ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/api"), ("GET", "/api/openapi.json"), ("GET", "/login"),
    ("POST", "/login"), ("POST", "/logout"), ("GET", "/problems/{slug}"),
    ("GET", "/api/v1/payloads/{execution_id}/{which}"),
    ("GET", "/static/{name}"), ("POST", "/theme"), ("POST", "/columns"),
}  # fmt: skip


def routes() -> list[tuple[str, str, Any]]:
    """Give every route of the app: method, path, route."""
    app = make_app(connect("redis://127.0.0.1:1/0"))
    found = [(method, one.path, one) for one in iter_route_contexts(app.routes) for method in one.methods or ()]
    return sorted(((method, path, one) for method, path, one in found if method != "HEAD"), key=lambda one: one[:2])


def needed(dependant: Dependant) -> Role | None:
    """Give the role that a route demands."""
    for one in dependant.dependencies:
        found = one.call.role if isinstance(one.call, Needs) else needed(one)
        if found is not None:
            return found
    return None


ROUTES = routes()
EACH = pytest.mark.parametrize(("method", "path", "route"), ROUTES, ids=[f"{one[0]} {one[1]}" for one in ROUTES])


@pytest.fixture(scope="module")
def web(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Web, dict[str, str], Client]]:
    """A server with a token for each role."""
    namespace = "t-web-access"
    with connect(server_url, namespace=namespace) as client:
        for token in client.people.tokens():
            client.people.remove_token(token.name)
        tokens = {str(role): client.people.create_token(f"of-{role}", role) for role in Role}
        with served(server_url, namespace, folder=tmp_path_factory.mktemp("web")) as started:
            yield started, tokens, client


@EACH
def test_a_route_names_the_role_that_it_needs_or_is_open_on_purpose(method: str, path: str, route: Any) -> None:
    role = needed(route.dependant)
    assert (role is None) == ((method, path) in OPEN)
    if role is not None and route.include_in_schema:
        assert re.findall(r"Needs `(\w+)`\.$", route.endpoint.__doc__) == [role]
        assert role.may(Role.VIEW if method == "GET" else Role.OPERATE), "what changes something is for operators"


@EACH
def test_a_route_lets_in_whose_role_is_enough_and_nobody_else(
    web: tuple[Web, dict[str, str], Client], method: str, path: str, route: Any
) -> None:
    started, tokens, _ = web
    url, role = started.url + re.sub(r"\{\w+\}", "nothing", path), needed(route.dependant)

    def status(**headers: str) -> int:
        sent = {} if method != "GET" else None
        with httpx.stream(method, url, headers=headers, json=sent) as answer:  # some never end
            return answer.status_code

    if role is None:
        assert status() not in (403, 500)
        return
    assert status() == 401
    assert status(Authorization="Bearer ext-wrong.of-admin") == 401
    for name, token in tokens.items():
        found = status(**bearer(token))
        if Role(name).may(role):
            assert found not in (401, 403)
            assert found < 500
        else:
            assert found == 403


def test_what_another_site_sends_is_refused(web: tuple[Web, dict[str, str], Client]) -> None:
    started, tokens, _ = web
    url = f"{started.url}/api/v1/executions/nothing/terminate"
    for headers, expected in (
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": started.url}, 404),
        ({"Origin": started.url}, 404),
        ({}, 404),
    ):
        answer = httpx.post(url, headers={**bearer(tokens["operate"]), **headers})
        assert answer.status_code == expected, headers
    assert answer.headers["content-type"] == "application/problem+json"


def test_every_answer_binds_the_browser_and_names_its_request(web: tuple[Web, dict[str, str], Client]) -> None:
    started, tokens, _ = web
    for path in ("/healthz", "/login", "/nowhere", "/api/v1/executions"):
        headers = httpx.get(started.url + path, headers={**bearer(tokens["view"]), "X-Request-ID": "mine-1"}).headers
        assert headers["x-request-id"] == "mine-1"
        assert "unsafe-inline" not in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
    strange = httpx.get(f"{started.url}/healthz", headers={"X-Request-ID": "a b<c>"})
    assert re.fullmatch(r"[0-9a-f-]{36}", strange.headers["x-request-id"])


def test_a_token_that_is_over_or_removed_is_refused(web: tuple[Web, dict[str, str], Client]) -> None:
    started, _, client = web
    token = client.people.create_token("short", "view")
    asked = {"url": f"{started.url}/api/v1/me", "headers": bearer(token)}
    assert httpx.get(**asked).json() == {"name": "short", "role": "view", "by": "token"}
    client.people.remove_token("short")
    assert httpx.get(**asked).status_code == 401
    # One of the same name is another one
    client.people.create_token("short", "view")
    assert httpx.get(**asked).status_code == 401
    client.people.remove_token("short")


def test_a_user_signs_in_and_out_and_a_new_password_ends_the_session(
    web: tuple[Web, dict[str, str], Client],
) -> None:
    started, _, client = web
    client.people.add_user("ann", "operate", "correct horse")
    with httpx.Client(base_url=started.url) as browser:
        assert browser.get("/api/v1/me").status_code == 401
        assert browser.post("/login", data={"name": "ann", "password": "wrong horse"}).status_code == 401
        form = {"name": "ann", "password": "correct horse", "next": "//elsewhere.example/"}
        entered = browser.post("/login", data=form)
        # I expect to be led inside only, and a cookie that no script and no other site can use
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        assert {"httponly", "samesite=lax"} <= set(entered.headers["set-cookie"].lower().split("; "))
        assert browser.get("/api/v1/me").json() == {"name": "ann", "role": "operate", "by": "session"}
        client.people.change_user("ann", password="another horse")
        assert browser.get("/api/v1/me").status_code == 401
        browser.post("/login", data={"name": "ann", "password": "another horse"})
        kept = dict(browser.cookies)
        browser.post("/logout")
        assert (
            browser.get("/api/v1/me", headers={"Cookie": f"executions_session={next(iter(kept.values()))}"}).status_code
            == 401
        )
    client.people.remove_user("ann")


def test_guessing_passwords_is_slowed_down(server_url: str, namespace: str, tmp_path: Any) -> None:
    with connect(server_url, namespace=namespace) as client:
        client.people.add_user("bob", "view", "correct horse")
        with served(server_url, namespace, folder=tmp_path) as started:
            form = {"name": "bob", "password": "guess"}
            found = [httpx.post(f"{started.url}/login", data=form).status_code for _ in range(LOGIN_TRIES + 1)]
            assert found == [401] * LOGIN_TRIES + [429]
            # ... and from one address no more for other names than for one
            others = [
                httpx.post(f"{started.url}/login", data={"name": f"user{number}", "password": "guess"}).status_code
                for number in range(SOURCE_TRIES - LOGIN_TRIES)
            ]
            assert others == [401] * (SOURCE_TRIES - LOGIN_TRIES - 1) + [429]
            # The right one is refused as well for a while, or it could be told from the others
            late = httpx.post(f"{started.url}/login", data={"name": "bob", "password": "correct horse"})
            assert late.status_code == 429
            assert int(late.headers["retry-after"]) > 0


def test_this_machine_is_let_in_for_as_long_as_there_is_nobody(server_url: str, namespace: str, tmp_path: Any) -> None:
    with (
        connect(server_url, namespace=namespace) as client,
        served(server_url, namespace, folder=tmp_path) as started,
    ):
        url = f"{started.url}/api/v1/me"
        assert httpx.get(url).json()["role"] == "admin"
        # ... but not by a name that is not this machine's, nor from behind a proxy
        assert httpx.get(url, headers={"Host": "evil.example"}).status_code == 401
        assert httpx.get(url, headers={"X-Forwarded-For": "10.0.0.1"}).status_code == 401
        # ... nor once there is somebody
        client.people.create_token("first", "view")
        assert httpx.get(url).status_code == 401


def test_a_proxy_that_is_believed_names_who_asks(server_url: str, namespace: str, tmp_path: Any) -> None:
    with connect(server_url, namespace=namespace) as client:
        client.people.add_user("ann", "admin", "correct horse")
        options = ("--user-header", "X-User", "--proxy-role", "view")
        with served(server_url, namespace, *options, folder=tmp_path) as started:
            url = f"{started.url}/api/v1/me"
            assert httpx.get(url, headers={"X-User": "ann"}).json()["role"] == "admin"
            assert httpx.get(url, headers={"X-User": "guest"}).json() == {
                "name": "guest",
                "role": "view",
                "by": "proxy",
            }
            assert httpx.get(url).status_code == 401
        with served(server_url, namespace, *options, "--proxy", "10.9.9.9", folder=tmp_path) as started:
            assert httpx.get(f"{started.url}/api/v1/me", headers={"X-User": "ann"}).status_code == 401


def test_what_is_done_is_on_record_with_who_and_how_it_went(server_url: str, namespace: str, tmp_path: Any) -> None:
    with connect(server_url, namespace=namespace) as client:
        execution = client.submit("x.y")
        operator, viewer = (client.people.create_token(name, name) for name in ("operate", "view"))
        with served(server_url, namespace, folder=tmp_path) as started:
            url = f"{started.url}/api/v1/executions/{execution.id}/terminate"
            for token in (viewer, operator, "ext-nobody.x"):
                httpx.post(url, json={"cause": "wrong data"}, headers=bearer(token))
        done, refused = client.audit.list()
        assert (done.who, done.role, done.action, done.target) == (
            "operate", "operate", "terminate_execution", execution.id
        )  # fmt: skip
        assert (done.result, done.detail, done.source) == ("done", "wrong data", "127.0.0.1")
        assert (refused.who, refused.result) == ("view", "refused: 403")
        # ... and the execution knows whom it was stopped by
        assert execution.refresh().status_log[-1]["principal"] == "operate"
        assert client.audit.list(1, done.cursor) == [refused]


def test_an_administrator_reads_what_everybody_or_one_did_page_by_page(
    server_url: str, namespace: str, tmp_path: Any
) -> None:
    with connect(server_url, namespace=namespace) as client:
        tokens = {name: client.people.create_token(name, name) for name in ("view", "operate", "admin")}
        # Given much that ann did, and a little of ben's in between
        for number in range(1200):
            client.audit.record("ben" if number % 400 == 0 else "ann", "pause_service", f"s{number}", "done")
        with served(server_url, namespace, folder=tmp_path) as started:

            def page(query: str, role: str = "admin") -> httpx.Response:
                return httpx.get(f"{started.url}/audit{query}", headers=bearer(tokens[role]))

            # I expect others to be refused, and pages that join without a gap
            assert [page("", role).status_code for role in ("view", "operate", "admin")] == [403, 403, 200]
            first = page("").text
            (older,) = re.findall(r'rel="next" href="([^"]+)"', first)
            second = httpx.get(started.url + unescape(older), headers=bearer(tokens["admin"])).text
            shown = [int(one) for one in re.findall(r"<td>s(\d+)</td>", first + second)]
            assert shown == list(range(1199, 999, -1))
            # ... and those of one alone, however far they lie apart
            of_ben = page("?who=ben").text
            assert re.findall(r"<td>s(\d+)</td>", of_ben) == ["800", "400", "0"]
            assert 'rel="next"' not in of_ben
            answer = httpx.get(f"{started.url}/api/v1/audit?who=ben&limit=2", headers=bearer(tokens["admin"])).json()
            assert [entry["target"] for entry in answer["items"]] == ["s800", "s400"]
            assert [entry.target for entry in client.audit.list(2, answer["next_cursor"], "ben")] == ["s0"]


def test_nobody_is_served_from_outside_before_there_is_somebody(server_url: str, namespace: str, tmp_path: Any) -> None:
    def refusal(host: str) -> str:
        with pytest.raises(AssertionError) as refused, served(server_url, namespace, "--host", host, folder=tmp_path):
            pass
        return str(refused.value)

    assert "nobody could sign in, so 192.0.2.1 is not listened on" in refusal("192.0.2.1")
    with connect(server_url, namespace=namespace) as client:
        client.people.create_token("first", "view")
    # Now it is only that this machine does not have such an address
    assert "cannot listen on 192.0.2.1" in refusal("192.0.2.1").splitlines()[-1]


def test_without_the_extra_only_serve_says_so() -> None:
    program = "import sys; sys.modules['fastapi'] = None; from executions.cli import main; main()"
    for words, code, said in ((["serve"], 1, "pip install 'executions[server]'"), (["--help"], 0, "serve")):
        ran = subprocess.run(
            [sys.executable, "-c", program, *words], capture_output=True, text=True, cwd=ROOT, check=False
        )
        assert ran.returncode == code
        assert said in ran.stdout + ran.stderr


def test_a_registry_that_is_away_is_told_in_time(start_server: StartServer, namespace: str, tmp_path: Any) -> None:
    registry = start_server()
    with served(registry.url, namespace, folder=tmp_path, EXECUTIONS_PATIENCE_S="1") as started:
        assert httpx.get(f"{started.url}/readyz").status_code == 200
        registry.stop()
        answer = httpx.get(f"{started.url}/api/v1/executions", timeout=10)
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/store-unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert httpx.get(f"{started.url}/readyz", timeout=10).status_code == 503
        assert httpx.get(f"{started.url}/healthz", timeout=1).status_code == 200
        registry.wanted_port = registry.port
        registry.start()
        assert httpx.get(f"{started.url}/readyz", timeout=10).status_code == 200
