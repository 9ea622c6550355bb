"""The console's pages as a browser without anything gets them: whole, bounded, below any path, for each role."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import httpx
import pytest

from executions import Client, connect
from tests.web import bearer, served


@pytest.fixture
def client(server_url: str, namespace: str) -> Iterator[Client]:
    with connect(server_url, namespace=namespace) as made:
        yield made


@pytest.fixture
def browser(server_url: str, namespace: str, client: Client, tmp_path: Path) -> Iterator[httpx.Client]:
    with served(server_url, namespace, folder=tmp_path) as web, httpx.Client(base_url=web.url) as made:
        yield made


PAGES = ("/", "/bulk", "/executions", "/executions?q=status:pending", "/failures", "/services", "/workers", "/queues",
         "/audit", "/executions/new", "/executions/{id}", "/executions/{id}/logs", "/executions/{id}/raw")  # fmt: skip


def test_an_empty_registry_has_pages_that_say_so(browser: httpx.Client) -> None:
    for path, said in {
        "/executions": "No executions yet",
        "/failures": "No failures",
        "/services": "No services",
        "/workers": "No workers",
        "/queues": "No queues",
        "/bulk": "No bulk actions yet",
        "/audit": "Nothing was done here yet",
    }.items():
        answer = browser.get(path)
        assert answer.status_code == 200
        assert said in answer.text
    assert browser.get("/executions/unknown").status_code == 404


def test_a_search_that_no_index_answers_says_so_and_counts_nothing(browser: httpx.Client, client: Client) -> None:
    client.submit("shop.add", "needle", 2)
    answer = browser.get("/executions", params={"q": "needle"})
    assert answer.status_code == 200
    assert "1 record read" in answer.text
    assert "data-counts" not in answer.text
    assert "data-counts" in browser.get("/executions", params={"q": "status:pending"}).text


def test_the_search_box_is_told_what_may_come_next(browser: httpx.Client, client: Client) -> None:
    client.submit("shop.add", 1, 2, queue="gpu")
    asked = {"q": "status:failed queue:g AND x", "position": str(len("status:failed queue:g"))}
    assert browser.get("/executions/suggest", params=asked).json() == {"texts": ["status:failed queue:gpu AND x"]}
    assert "status:failed" in browser.get("/executions/suggest", params={"q": "status:f"}).json()["texts"]
    for odd in ({}, {"q": '"', "position": "99999999"}, {"q": "((" * 3000, "position": "x"}):
        assert browser.get("/executions/suggest", params=odd).status_code == 200


def test_every_link_stays_below_the_path_that_the_app_has(server_url: str, namespace: str, tmp_path: Path) -> None:
    with connect(server_url, namespace=namespace) as client:
        execution = client.submit("shop.add", 1, 2, tags=["a"], pipeline="p", stage="s", queue="q")
    with served(server_url, namespace, "--prefix", "/console", folder=tmp_path) as web:
        root = re.sub(r"(://[^/]+).*", r"\1", web.url)
        for page in PAGES:
            answer = httpx.get(f"{root}/console{page.format(id=execution.id)}")
            assert answer.status_code == 200, page
            found = [unescape(one) for one in re.findall(r'(?:href|src|action)="([^"]*)"', answer.text)]
            assert [one for one in found if not one.startswith(("/console/", "#"))] == [], page
        sent = httpx.post(f"{root}/console/executions/{execution.id}/terminate")
        assert sent.headers["location"].startswith("/console/executions/")


def test_who_may_only_look_sees_no_buttons_and_is_refused(
    server_url: str, namespace: str, client: Client, tmp_path: Path
) -> None:
    execution = client.submit("shop.add", 1, 2)
    tokens = {role: client.people.create_token(f"of-{role}", role) for role in ("view", "operate")}
    with served(server_url, namespace, folder=tmp_path) as web:
        path = f"{web.url}/executions/{execution.id}"
        seen = {role: httpx.get(path, headers=bearer(token)).text for role, token in tokens.items()}
        assert "Cancel it" in seen["operate"]
        assert "Cancel it" not in seen["view"]
        for form in (f"{path}/terminate", f"{path}/rerun", f"{web.url}/bulk", f"{web.url}/workers/drain"):
            assert httpx.post(form, headers=bearer(tokens["view"])).status_code == 403
        nobody = httpx.get(path, headers={"Accept": "text/html"})
        assert (nobody.status_code, nobody.headers["location"][:12]) == (303, "/login?next=")
        httpx.post(f"{path}/terminate", headers=bearer(tokens["operate"]), data={"cause": "not needed"})
    # What was done is recorded in the name of who did it
    after = execution.refresh()
    assert after.status == "terminated"
    assert after.status_log[-1]["principal"] == "of-operate"
    assert [entry for entry in client.audit.list() if entry.action == "terminate_execution"]


def test_what_ended_meanwhile_is_said_where_it_was_asked_for(client: Client, browser: httpx.Client) -> None:
    execution = client.submit("shop.add", 1, 2)
    assert browser.post(f"/executions/{execution.id}/rerun").status_code == 409
    execution.terminate()
    answer = browser.post(f"/executions/{execution.id}/terminate")
    assert answer.status_code == 409
    assert "had already ended" in answer.text
    assert execution.id in answer.text


def test_a_stop_from_a_page_of_before_the_end_does_not_stop_what_was_rerun_since(
    client: Client, browser: httpx.Client
) -> None:
    # Given a page of an execution that waits, which was then cancelled and rerun by somebody else
    execution = client.submit("shop.add", 1, 2)
    stop = f"/executions/{execution.id}/terminate"
    (seen,) = re.findall(r'name="ends" value="(\d+)"', browser.get(f"/executions/{execution.id}").text)
    execution.terminate()
    execution.refresh().rerun()
    # If its button is pressed now, I expect to be told, and the page that comes back to do it
    answer = browser.post(stop, data={"ends": seen})
    assert answer.status_code == 409
    assert "somebody has rerun it since you opened this page" in answer.text
    assert execution.refresh().status == "pending"
    (seen,) = re.findall(r'name="ends" value="(\d+)"', answer.text)
    assert browser.post(stop, data={"ends": seen}).status_code == 303
    assert execution.refresh().status == "terminated"


def test_a_form_leads_back_to_pages_of_ours_only(client: Client, browser: httpx.Client) -> None:
    execution = client.submit("shop.add", 1, 2)
    for back in ("//elsewhere.example", "https://elsewhere.example", "/\\elsewhere.example", "x"):
        form = {"action": "terminate", "confirmed": "1", "id": execution.id, "back": back}
        assert "elsewhere" not in browser.post("/bulk", data=form).headers.get("location", "")
        assert "elsewhere" not in browser.post("/theme", data={"theme": "dark", "back": back}).headers["location"]


def test_odd_requests_are_refused_with_a_page(browser: httpx.Client) -> None:
    for path in (
        "/executions?limit=0", "/executions?limit=x", "/executions?q=status:odd", "/executions?cursor=odd",
        "/executions?sort=odd", "/executions/new?from=unknown", "/services/unknown",
    ):  # fmt: skip
        assert browser.get(path).status_code in (404, 422), path
    for path, form in {
        "/bulk": {"action": "explode", "id": "x"},
        "/executions/new": {"function": ""},
        "/workers/drain": {"name": "unknown"},
    }.items():
        assert browser.post(path, data=form).status_code in (404, 422), path
    assert browser.post("/executions/new", content=b"a=" + b"x" * (1 << 21)).status_code == 413


def test_the_same_word_in_a_link_says_nothing_of_its_own(browser: httpx.Client) -> None:
    assert "Asked it to stop." in browser.get("/executions?done=terminate").text
    assert "send money" not in re.sub(r'value="[^"]*"', "", browser.get("/executions?done=send money").text)
