"""Saved views and columns over HTTP: one set of names everywhere, and an address for all that is shown."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest

from executions import Client, connect
from executions.columns import COLUMNS
from executions.registry.submission import Submission
from tests.web import bearer, served


@pytest.fixture
def client(server_url: str, namespace: str) -> Iterator[Client]:
    with connect(server_url, namespace=namespace) as made:
        yield made


@pytest.fixture
def tokens(client: Client) -> dict[str, str]:
    return {name: client.people.create_token(name, role) for name, role in
            {"ann": "operate", "bob": "operate", "guest": "view"}.items()}  # fmt: skip


@pytest.fixture
def web(server_url: str, namespace: str, tokens: dict[str, str], tmp_path: Path) -> Iterator[httpx.Client]:
    """A browser of Ann's."""
    with (
        served(server_url, namespace, folder=tmp_path) as started,
        httpx.Client(base_url=started.url, headers=bearer(tokens["ann"])) as made,
    ):
        yield made


API = "/api/v1/views"


def test_a_view_is_kept_found_changed_and_removed(web: httpx.Client, client: Client) -> None:
    made = web.post(API, json={"name": "Nightly", "query": "tag:nightly", "columns": ["created", "property:lr"]})
    assert made.status_code == 201
    view = made.json()
    assert (view["owner"], view["version"], view["columns"]) == ("ann", 1, ["created", "property.lr"])
    assert made.headers["location"] == f"{API}/{view['id']}"
    assert web.get(f"{API}/nightly").json() == view
    changed = web.patch(f"{API}/{view['id']}", json={"shared": True}, headers={"If-Match": made.headers["etag"]})
    assert (changed.json()["version"], changed.json()["name"]) == (2, "Nightly")
    for late in (
        web.patch(f"{API}/{view['id']}", json={"name": "x"}, headers={"If-Match": made.headers["etag"]}),
        web.delete(f"{API}/{view['id']}", headers={"If-Match": made.headers["etag"]}),
    ):
        assert (late.status_code, late.json()["type"]) == (412, "/problems/changed")
    assert client.acting_as("bob").views.get("nightly").id == view["id"]
    assert web.post(API, json={"name": "nightly"}).status_code == 409
    assert web.post(API, json={"name": "x", "query": "statsu:failed"}).status_code == 422
    assert web.delete(f"{API}/running").status_code == 422
    assert web.delete(f"{API}/{view['id']}").status_code == 204
    assert web.get(f"{API}/{view['id']}").status_code == 404
    done = [(entry.who, entry.action, entry.detail) for entry in client.audit.list() if entry.result == "done"]
    assert done == [("ann", "remove_view", ""), ("ann", "change_view", "shared"), ("ann", "create_view", "Nightly")]


def test_others_views_are_theirs_and_viewers_keep_none(web: httpx.Client, tokens: dict[str, str]) -> None:
    own = web.post(API, json={"name": "Mine"}).json()
    shared = web.post(API, json={"name": "Ours", "shared": True}).json()
    bob, guest = bearer(tokens["bob"]), bearer(tokens["guest"])
    for who in (bob, guest):
        assert [one["name"] for one in web.get(API, headers=who).json() if not one["is_system"]] == ["Ours"]
        assert web.get(f"{API}/{own['id']}", headers=who).status_code == 404
        assert web.get(f"/executions?view={own['id']}", headers=who).status_code == 404
        assert web.get(f"/executions?view={shared['id']}", headers=who).status_code == 200
    assert web.post(API, json={"name": "Guest's"}, headers=guest).status_code == 403
    assert web.post("/views", data={"name": "Guest's"}, headers=guest).status_code == 403
    page = web.get(f"/executions?view={shared['id']}", headers=guest).text
    assert "Keep this list as" not in page
    assert web.patch(f"{API}/{shared['id']}", json={"shared": False}, headers=bob).status_code == 409


def test_counts_are_told_where_they_are_asked_for(web: httpx.Client, client: Client) -> None:
    client.submit("shop.add", 1, 2)
    counts = {one["id"]: one["count"] for one in web.get(API, params={"counts": True}).json()}
    assert (counts["waiting"], counts["running"], counts["stuck"]) == (1, 0, None)
    assert {one["count"] for one in web.get(API).json()} == {None}


def rows_of(page: str) -> list[list[str]]:
    """Give the cells of a list, head first, as text."""
    table = page.split('<table class="rows')[1].split("</table>")[0]
    lines = re.findall(r"<tr.*?</tr>", table, re.S)
    return [
        [
            " ".join(unescape(re.sub(r"<[^>]*>", " ", cell)).split())
            for cell in re.findall(r"<t[hd].*?</t[hd]>", line, re.S)
        ]
        for line in lines
    ]


def test_columns_are_chosen_in_the_address(web: httpx.Client, client: Client) -> None:
    one = client.submit("shop.add", 1, 2, properties={"lr": 0.001, "net": {"depth": 3}}, tags=["a", "b"], name="first")
    client.submit("shop.add", 1, 2)
    names = "property.net,tags,property.lr,created,principal"
    head, second, first = rows_of(web.get("/executions", params={"columns": names}).text)
    assert head[1:] == ["Status", "Execution", "net", "Tags", "lr", "Created ↓", "Submitted by"]
    assert first[3:6] == ['{"depth": 3}', "a b", "0.001"]
    assert second[3:6] == ["", "", ""]
    # A row that is patched in place has the same cells
    fresh = web.get("/executions/rows", params={"ids": one.id, "columns": names}).text
    assert rows_of(f'<table class="rows">{fresh}</table>')[0] == first
    # Every column can be shown
    assert web.get("/executions", params={"columns": ",".join(COLUMNS)[:4000]}).status_code == 200
    for odd in ("statsu", "property.", "created," * 5 + "x" * 200, ",".join(f"property.p{n}" for n in range(41))):
        assert web.get("/executions", params={"columns": odd}).status_code == 422, odd


def test_the_panel_moves_adds_and_removes_columns_by_links(web: httpx.Client) -> None:
    page = web.get("/executions", params={"columns": "created,queue"}).text
    links = {label: unescape(url) for url, label in re.findall(r'<a href="([^"]*)" aria-label="([^"]*)"', page)}
    assert "columns=queue%2Ccreated" in links["Created further right"] == links["Queue further left"]
    assert "columns=queue&" in links["Without Created"]
    assert '<details class="menu picking" open' in web.get(links["Without Created"]).text
    added = web.get("/executions", params={"columns": "created", "add": ["worker", "property.lr"]})
    assert added.headers["location"] == "/executions?columns=created%2Cworker%2Cproperty.lr&pick=1"


def test_columns_and_size_are_remembered_and_give_way_to_addresses_and_views(web: httpx.Client, client: Client) -> None:
    client.submit("shop.add", 1, 2)
    web.post("/executions/chosen", data={})  # nothing is remembered by anything else
    assert not web.cookies
    web.post("/columns", data={"columns": "worker,property.my key", "limit": "25", "back": "/executions"})
    page = web.get("/executions").text
    assert rows_of(page)[0][3:] == ["Worker", "my key"]
    assert re.search(r'aria-current="true">25<', page)
    assert rows_of(web.get("/executions?columns=queue").text)[0][3:] == ["Queue"]
    made = web.post(API, json={"name": "Mine", "columns": ["created"]}).json()
    assert rows_of(web.get(made["url"]).text)[0][3:] == ["Created ↓"]
    # What a cookie has that nobody understands is as good as nothing
    for odd in ("statsu", "%00", "a" * 300):
        web.cookies.set("columns", odd)
        assert web.get("/executions").status_code == 200
    web.cookies.clear()
    web.post("/columns", data={"columns": "worker", "back": "/executions"})
    web.post("/columns", data={"columns": ""})
    assert not web.cookies


def test_a_list_shows_what_its_view_says_unless_the_address_says_otherwise(web: httpx.Client, client: Client) -> None:
    client.submit("shop.add", 1, 2, tags=["a"], name="tagged")
    client.submit("shop.add", 3, 4, name="plain")
    view = web.post(API, json={"name": "Tagged", "query": "tag:a", "sort": "created", "columns": ["queue"]}).json()

    def names(**more: Any) -> list[str]:
        found = rows_of(web.get("/executions", params={"view": view["id"], **more}).text)
        return [row[2].split()[0] for row in found[1:]]

    assert names() == ["tagged"]
    assert names(q="") == ["tagged", "plain"]
    assert names(q="", sort="-created") == ["plain", "tagged"]
    page = web.get("/executions", params={"view": view["id"], "q": ""}).text
    assert "changed" in page
    assert "Save changes to “Tagged”" in page
    # Every link of the list keeps what is seen: the view, and that the query is empty
    sizes = [unescape(url) for url in re.findall(r'<a href="(/executions\?[^"]*limit=[^"]*)"', page)]
    assert sizes
    assert all("view=" in url and "q=&" in url for url in sizes)


def test_an_execution_leads_on_within_its_list_and_back_to_it(web: httpx.Client, client: Client) -> None:
    made = [client.submit("shop.add", number, 2, name=f"run {number}", tags=["a"]) for number in range(3)]
    view = web.post(API, json={"name": "Tagged", "query": "tag:a", "columns": ["queue"]}).json()
    page = web.get("/executions", params={"view": view["id"], "q": "", "sort": "created"}).text
    path = next(unescape(url) for url in re.findall(r'class="open" href="([^"]*)"', page) if made[1].id in url)
    for tab in (path, path.replace("?", "/logs?"), path.replace("?", "/raw?")):
        seen = web.get(tab).text
        back = unescape(re.findall(r'<a href="([^"]*)" data-up', seen)[0])
        assert rows_of(web.get(back).text) == rows_of(page)
        steps = [unescape(url) for url in re.findall(r'rel="(?:prev|next)" href="([^"]*)"', seen)]
        assert [url.split("?")[0][-36:] for url in steps] == [made[2].id, made[0].id]
        assert {url.split("?")[1] for url in steps} == {path.split("?")[1]}
    # A row that is patched in place leads to the same
    fresh = web.get("/executions/rows", params={"ids": made[1].id, "q": "", "view": view["id"], "sort": "created"}).text
    assert path in unescape(fresh)


def test_the_page_keeps_changes_and_removes_a_view(web: httpx.Client, tokens: dict[str, str]) -> None:
    kept = web.post("/views", data={"name": "Ours", "q": "tag:a", "sort": "-created", "columns": "", "shared": "1"})
    assert kept.status_code == 303
    path = kept.headers["location"]
    assert "Kept." in web.get(path).text
    view = web.get(f"{API}/Ours").json()
    form = {"version": "1", "name": "Ours", "q": "tag:b", "sort": "created", "columns": "queue", "shared": "1"}
    bob = bearer(tokens["bob"])
    assert web.post(f"/views/{view['id']}", data=form, headers=bob).status_code == 303
    # Ann's form is older: nothing is written, what she typed stands there, and what is in force is told
    late = web.post(f"/views/{view['id']}", data={**form, "q": "tag:mine"})
    assert late.status_code == 412
    for said in ("bob has changed the view", "tag:mine", "tag:b", 'name="version" value="2"'):
        assert said in unescape(late.text)
    assert web.post(f"/views/{view['id']}/remove", data={"version": "1"}).status_code == 412
    # Only what a list tells of itself: the name stays
    partly = {"version": "2", "partly": "1", "q": "tag:c", "sort": "", "columns": ""}
    assert web.post(f"/views/{view['id']}", data=partly).status_code == 303
    now = web.get(f"{API}/Ours").json()
    assert (now["query"], now["sort"], now["columns"], now["shared"], now["version"]) == (
        "tag:c",
        "-created",
        [],
        True,
        3,
    )
    refused = web.post("/views", data={"name": "ours", "q": "tag:x"})
    assert refused.status_code == 409
    assert "tag:x" in refused.text
    assert web.post("/views", data={"name": "odd", "q": "statsu:x"}).status_code == 422
    assert "Ours" in web.get("/views").text
    assert web.post(f"/views/{view['id']}/remove", data={"version": "3"}).headers["location"] == "/views?done=view-gone"
    assert web.get(f"/views/{view['id']}").status_code == 404


@pytest.mark.feature("C48", "C49")
@pytest.mark.parametrize("shards", [1, 16])
def test_exports_have_the_same_columns(
    server_url: str, namespace: str, shards: int, client: Client, tmp_path: Path
) -> None:
    with connect(server_url, namespace=f"{namespace}s{shards}", shards=shards) as there:
        one = there.submit("shop.add", 1, 2, properties={"lr": 0.001, "note": '=1+1, "x"'}, tags=["a"])
        there._parts.transitions.submit(Submission(id="other", function="shop.add", inputs="[[],{}]"))
        there._parts.transitions.annotate(one.id, None, fields=("m.loss", "0.5"))
        listed = there.executions.list("tag:a", columns=["property.lr", "metric.loss", "id"]).items[0]
        assert (listed.properties, listed.latest_metrics) == ({"lr": 0.001}, {"loss": 0.5})
        assert there.executions.list("property.lr>0").items[0].properties == {}
        with served(server_url, f"{namespace}s{shards}", folder=tmp_path) as started:
            asked = {"q": "function:shop.add", "sort": "created", "columns": "id,property.lr,property:note,metric.loss"}
            url = f"{started.url}/api/v1/exports/executions"
            table = list(csv.reader(io.StringIO(httpx.get(url, params=asked).text)))
            assert table[0] == ["id", "property.lr", "property.note", "metric.loss"]
            assert sorted(table[1:]) == sorted([[one.id, "0.001", '\'=1+1, "x"', "0.5"], ["other", "", "", ""]])
            found = httpx.get(url, params={**asked, "format": "json", "q": "tag:a"}).json()
            assert found == [{"id": one.id, "property.lr": 0.001, "property.note": '=1+1, "x"', "metric.loss": 0.5}]
            assert httpx.get(url, params={"columns": "statsu"}).status_code == 422
