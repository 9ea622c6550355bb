"""Tags, properties and notes over HTTP: what was read is the base of a change, and who did it is on record."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest

from executions import Changed, Client, InvalidInput, NotFound, connect
from executions.execution import Execution
from tests.web import bearer, served


@pytest.fixture
def client(server_url: str, namespace: str) -> Iterator[Client]:
    with connect(server_url, namespace=namespace) as made:
        yield made


@pytest.fixture
def web(server_url: str, namespace: str, client: Client, tmp_path: Path) -> Iterator[httpx.Client]:
    token = client.people.create_token("ann", "operate")
    client.people.create_token("guest", "view")
    with (
        served(server_url, namespace, folder=tmp_path) as started,
        httpx.Client(base_url=started.url, headers=bearer(token)) as made,
    ):
        yield made


@pytest.fixture
def execution(client: Client) -> Execution:
    return client.submit("shop.add", 1, 2, tags=["gpu"], properties={"lr": 0.1, "text": "5", "deep": {"a": [1]}})


def api(execution: Execution, rest: str = "") -> str:
    return f"/api/v1/executions/{execution.id}{rest}"


def test_a_change_goes_by_what_was_read(web: httpx.Client, execution: Execution) -> None:
    etag = web.get(api(execution)).headers["etag"]
    change: dict[str, Any] = {
        "tags": ["seen"], "remove_tags": ["gpu"], "properties": {"lr": 0.2}, "remove_properties": ["deep"],
    }  # fmt: skip
    changed = web.patch(api(execution), json=change, headers={"If-Match": etag})
    assert changed.status_code == 200
    assert changed.json()["tags"] == ["seen"]
    assert changed.json()["properties"] == {"lr": 0.2, "text": "5"}
    # The same again comes from an old picture
    late = web.patch(api(execution), json=change, headers={"If-Match": etag})
    assert (late.status_code, late.json()["type"]) == (412, "/problems/changed")
    assert late.headers["content-type"] == "application/problem+json"
    page = web.get(late.json()["type"], headers={"Accept": "text/html"})
    assert "Read it again" in page.text
    # With the new one, in a list of several, with any, or without, it goes
    fresh = changed.headers["etag"]
    assert fresh == web.get(api(execution)).headers["etag"]
    for headers in ({"If-Match": f'"other", {fresh}'}, {"If-Match": "*"}, {}):
        assert web.patch(api(execution), json={"tags": ["more"]}, headers=headers).status_code == 200
    assert web.patch(api(execution), json={"tags": ["x"]}, headers={"If-Match": f"W/{fresh}"}).status_code == 412


def test_a_number_stands_for_an_execution_wherever_its_id_does(
    web: httpx.Client, client: Client, execution: Execution
) -> None:
    number = execution.number
    assert client.executions.by_number(number).id == client.executions.find(str(number)).id == execution.id
    assert web.get(f"/api/v1/executions/{number}").json()["id"] == execution.id
    for rest in ("attempts", "status-log", "children", "position", "notes", "logs", "payloads/input"):
        by_number, by_id = (web.get(f"/api/v1/executions/{which}/{rest}") for which in (number, execution.id))
        assert by_number.status_code == by_id.status_code == 200, rest
        assert rest.startswith("payloads") or by_number.json() == by_id.json()
    link = web.get(f"/api/v1/executions/{number}/payloads/input").json()["url"]
    assert httpx.get(web.base_url.join(link)).json() == [[1, 2], {}]
    page = web.get(f"/executions/{number}", headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert execution.id in page.text
    # Nobody has this number
    unknown = web.get(f"/api/v1/executions/{number + 1000}")
    assert (unknown.status_code, unknown.json()["type"]) == (404, "/problems/not-found")
    assert "number" in unknown.json()["detail"]
    # What is on record names the id
    assert web.post(f"/api/v1/executions/{number}/terminate").status_code == 202
    assert client.audit.list(1)[0].target == execution.id


def test_python_has_the_same_fence(client: Client, execution: Execution) -> None:
    theirs = execution.update(tags=["theirs"])
    with pytest.raises(Changed, match="read it again"):
        execution.update(tags=["mine"], unless_changed=True)
    mine = theirs.update(tags=["mine"], unless_changed=True)
    assert mine.tags == ("gpu", "theirs", "mine")
    with pytest.raises(InvalidInput, match="a list does not show"):
        client.executions.list().items[0].update(tags=["y"], unless_changed=True)


def test_what_cannot_be_kept_is_refused_with_words(execution: Execution) -> None:
    for changes, said in {
        "status": ({"status": "success"}, "status cannot be changed"),
        "text for a list": ({"tags": "gpu"}, "as a list"),
        "empty": ({"tags": [""]}, "from 1 to 300"),
        "long": ({"properties": {"x" * 301: 1}}, "from 1 to 300"),
        "large": ({"properties": {"x": "y" * 70_000}}, "larger than 64 KiB"),
        "many": ({"properties": {f"k{n}": n for n in range(201)}}, "at most 200"),
        "tags": ({"tags": [f"t{n}" for n in range(150)]}, "at most 100 tags"),
    }.values():
        with pytest.raises(InvalidInput, match=said):
            execution.update(**changes)  # type: ignore[arg-type]
    for text, said in (("  ", "not empty"), ("x" * 4001, "at most 4,000")):
        with pytest.raises(InvalidInput, match=said):
            execution.add_note(text)
    fresh = execution.refresh()
    assert (fresh.tags, fresh.properties, fresh.notes) == (execution.tags, execution.properties, ())


def test_what_has_a_secrets_name_is_not_kept_for_all_to_see(client: Client, execution: Execution) -> None:
    after = execution.update(properties={"api_key": "k-123", "config": {"password": "p", "host": "db"}})
    assert after.properties["api_key"] == "[redacted]"
    assert after.properties["config"] == {"password": "[redacted]", "host": "db"}
    assert "k-123" not in str(client.executions.get(execution.id)._raw)


@pytest.mark.feature("C72")
def test_a_note_is_on_record_with_who_wrote_it(web: httpx.Client, client: Client, execution: Execution) -> None:
    assert web.get(api(execution, "/notes")).json() == []
    answer = web.post(api(execution, "/notes"), json={"text": " reads the wrong table\n"})
    assert answer.status_code == 201
    (note,) = answer.json()
    assert (note["principal"], note["text"]) == ("ann", "reads the wrong table")
    assert web.get(api(execution)).json()["notes"] == [note] == web.get(api(execution, "/notes")).json()
    assert web.get("/api/v1/executions", params={"q": "has:note"}).json()["items"][0]["note_count"] == 1
    assert web.post(api(execution, "/notes"), json={"text": "x" * 4500}).status_code == 422
    entries = {entry.action: entry for entry in client.audit.list()}
    assert (entries["add_note"].who, entries["add_note"].target) == ("ann", execution.id)
    for gone in ("nothing", "00000000-0000-7000-8000-000000000000"):
        with pytest.raises(NotFound):
            client.executions.get(gone)
        assert web.post(f"/api/v1/executions/{gone}/notes", json={"text": "x"}).status_code == 404


def form_of(page: str) -> dict[str, Any]:
    """Read the form for tags and properties as a browser would send it."""
    form = page.split('id="edit"')[1].split("</form>")[0]
    keys = [unescape(one) for one in re.findall(r'name="key" value="([^"]*)"', form)]
    values = [unescape(one) for one in re.findall(r'<textarea name="value"[^>]*>\n(.*?)</textarea>', form, re.S)]
    tags = unescape(re.findall(r'<textarea name="tags"[^>]*>\n(.*?)</textarea>', form, re.S)[0])
    seen = re.findall(r'name="seen" value="([^"]*)"', form)[0]
    return {"seen": seen, "tags": tags, "key": keys, "value": values, "in": ""}


def test_the_form_changes_what_was_changed_in_it_and_nothing_else(
    web: httpx.Client, client: Client, execution: Execution
) -> None:
    path = f"/executions/{execution.id}"
    form = form_of(web.get(path).text)
    typed = {"lr": "0.1", "text": '"5"', "deep": '{"a": [1]}', "": ""}
    assert dict(zip(form["key"], form["value"], strict=True)) == typed
    sent = {**form, "tags": "gpu box\r\nnightly\r\n", "value": ["", "0.25", '"5"', "a word", ""]}
    sent["key"] = ["deep", "lr", "text", "new", ""]
    assert web.post(f"{path}/edit", data=sent).headers["location"] == f"{path}?done=edit"
    after = execution.refresh()
    assert after.tags == ("gpu box", "nightly")
    assert after.properties == {"lr": 0.25, "text": "5", "new": "a word"}
    # Sent from the same form again: what was typed is not lost, and nothing is written
    late = web.post(f"{path}/edit", data={**sent, "tags": "mine"})
    assert late.status_code == 412
    assert "have changed since you opened the form" in late.text
    assert form_of(late.text)["tags"] == "mine"
    assert execution.refresh().tags == after.tags
    # and sent once more it is meant
    assert web.post(f"{path}/edit", data=form_of(late.text)).status_code == 303
    assert execution.refresh().tags == ("mine",)
    assert {entry.action for entry in client.audit.list()} == {"edit_execution"}


def test_a_form_that_is_refused_still_holds_what_was_typed(web: httpx.Client, execution: Execution) -> None:
    path = f"/executions/{execution.id}"
    form = form_of(web.get(path).text) | {"tags": "x" * 301}
    refused = web.post(f"{path}/edit", data=form)
    assert (refused.status_code, form_of(refused.text)["tags"]) == (422, "x" * 301)
    refused = web.post(f"{path}/notes", data={"text": "y" * 4001})
    assert refused.status_code == 422
    assert "y" * 4001 in refused.text


def test_who_may_only_look_reads_notes_and_has_no_forms(
    web: httpx.Client, client: Client, execution: Execution
) -> None:
    web.post(f"/executions/{execution.id}/notes", data={"text": "<b>bold</b> claim"})
    client.people.remove_token("guest")
    guest = bearer(client.people.create_token("guest", "view"))
    page = web.get(f"/executions/{execution.id}", headers=guest).text
    assert "&lt;b&gt;bold&lt;/b&gt; claim" in page
    assert "Add note" not in page
    assert 'id="edit"' not in page
