"""The API with real workers: launch, wait, read the log, stop, rerun, relaunch, many at once, exports."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from executions.queue import Queue
from tests.acceptance.fleet import Fleet, eventually
from tests.web import Web, served


@pytest.fixture(scope="module")
def web(prefork: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A server over the fleet's registry."""
    namespace = prefork.client.settings.namespace
    payloads = prefork.environ["EXECUTIONS_PAYLOADS"]
    folder = tmp_path_factory.mktemp("web")
    with served(prefork.url, namespace, folder=folder, EXECUTIONS_PAYLOADS=payloads) as started:
        yield started


@pytest.fixture
def api(web: Web) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{web.url}/api/v1", timeout=40) as client:
        yield client


def launch(api: httpx.Client, function: str, *args: Any, **options: Any) -> dict[str, Any]:
    answer = api.post("/executions", json={"function": function, "inputs": list(args), **options})
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/api/v1/executions/{answer.json()['id']}"
    found: dict[str, Any] = answer.json()
    return found


def ended(api: httpx.Client, execution_id: str) -> dict[str, Any]:
    answer = api.get(f"/executions/{execution_id}", params={"wait": 30})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert found["finished"]
    return found


def test_what_is_launched_is_waited_for_and_told_whole(api: httpx.Client) -> None:
    launched = launch(api, "shop.add", 2, 3, tags=["nightly"], properties={"epochs": 5})
    assert (launched["status"], launched["reason"]) == ("pending", "queued")
    found = ended(api, launched["id"])
    assert (found["status"], found["output"], found["attempt"]) == ("success", 5, 1)
    assert (found["tags"], found["properties"]) == (["nightly"], {"epochs": 5})
    # Times are in UTC, to the letter of RFC 3339
    assert found["created"].endswith("Z")
    assert datetime.fromisoformat(found["started"]).astimezone(UTC) <= datetime.fromisoformat(found["finished"])
    assert [entry["status"] for entry in api.get(f"/executions/{found['id']}/status-log").json()] == [
        "pending", "running", "success"
    ]  # fmt: skip
    (attempt,) = api.get(f"/executions/{found['id']}/attempts").json()
    assert (attempt["number"], attempt["status"]) == (1, "success")


def test_what_has_not_changed_is_not_sent_again(api: httpx.Client) -> None:
    found = ended(api, launch(api, "shop.add", 1, 1)["id"])
    first = api.get(f"/executions/{found['id']}")
    again = api.get(f"/executions/{found['id']}", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    api.patch(f"/executions/{found['id']}", json={"tags": ["seen"]})
    changed = api.get(f"/executions/{found['id']}", headers={"If-None-Match": first.headers["etag"]})
    assert (changed.status_code, changed.json()["tags"]) == (200, ["seen"])


def test_a_launch_that_is_sent_twice_happens_once(api: httpx.Client) -> None:
    def send(**body: Any) -> httpx.Response:
        return api.post("/executions", json=body, headers={"Idempotency-Key": "order-7"})

    first, again = send(function="shop.add", inputs=[1, 2]), send(function="shop.add", inputs=[1, 2])
    assert first.json()["id"] == again.json()["id"]
    for other in (send(function="shop.add", inputs=[1, 3]), send(function="shop.echo", inputs=[1, 2])):
        assert (other.status_code, other.json()["type"]) == (409, "/problems/idempotency-conflict")
    assert api.get("/executions", params={"q": f"id:{first.json()['id']}"}).json()["items"][0]["attempt"] <= 1


def test_a_wait_that_is_over_before_the_execution_tells_how_it_is(api: httpx.Client) -> None:
    launched = launch(api, "shop.add", 1, 1, countdown=3600)
    answer = api.get(f"/executions/{launched['id']}", params={"wait": 0.3, "until": "started"})
    assert (answer.status_code, answer.json()["reason"]) == (200, "scheduled")
    stopped = api.post(f"/executions/{launched['id']}/terminate", json={"cause": "not needed"})
    assert (stopped.status_code, stopped.json()["status"], stopped.json()["reason"]) == (202, "terminated", "cancelled")


def test_those_who_wait_keep_nobody_from_reading_and_the_server_from_nothing(prefork: Fleet, tmp_path: Path) -> None:
    execution = prefork.client.submit("shop.add", 1, 1, countdown=3600)
    with served(prefork.url, prefork.client.settings.namespace, folder=tmp_path) as web, ThreadPoolExecutor(80) as pool:
        url = f"{web.url}/api/v1/executions/{execution.id}"
        waiting = [pool.submit(httpx.get, url, params={"wait": 60}, timeout=70) for _ in range(80)]
        began = time.monotonic()
        for _ in range(20):
            assert httpx.get(url).status_code == 200
        assert time.monotonic() - began < 10
        assert not any(one.done() for one in waiting)
        # The end is told to all of them at once
        execution.terminate()
        assert {one.result().json()["status"] for one in waiting} == {"terminated"}
        # ... and a server that is stopped does not wait for those who wait
        other = prefork.client.submit("shop.add", 1, 1, countdown=3600)
        late = pool.submit(httpx.get, f"{web.url}/api/v1/executions/{other.id}", params={"wait": 60}, timeout=70)
        eventually(late.running, "the request")
        web.process.terminate()
        assert web.process.wait(timeout=15) is not None
        assert isinstance(late.exception(), httpx.HTTPError) or late.result().status_code >= 500
        other.terminate()


def test_one_that_runs_is_not_rerun_and_one_that_ended_is(api: httpx.Client) -> None:
    waiting = launch(api, "shop.add", 1, 1, countdown=3600)
    refused = api.post(f"/executions/{waiting['id']}/rerun")
    assert refused.status_code == 409
    assert (refused.json()["type"], refused.json()["current_status"]) == ("/problems/invalid-transition", "pending")
    api.post(f"/executions/{waiting['id']}/terminate")
    done = ended(api, launch(api, "shop.add", 4, 5)["id"])
    assert api.post(f"/executions/{done['id']}/rerun", json={"cause": "a better disk"}).status_code == 202
    again = eventually(lambda: (found := ended(api, done["id"])) and found["attempt"] == 2 and found, "the rerun")
    (asked,) = (entry for entry in again["status_log"] if entry["reason"] == "rerun")
    assert (asked["message"], bool(asked["principal"])) == ("a better disk", True)
    assert again["output"] == 9
    other = api.post(f"/executions/{done['id']}/relaunch", json={"inputs": {"y": 10}}).json()
    assert other["reference"] == done["id"]
    assert ended(api, other["id"])["output"] == 14


@pytest.mark.feature("C83")
def test_a_list_is_gone_through_page_by_page(api: httpx.Client) -> None:
    made = [launch(api, "shop.add", number, 1, pipeline="paged")["id"] for number in range(5)]
    seen: list[str] = []
    path = "/executions?q=pipeline:paged&limit=2&sort=created"
    while path:
        page = api.get(path)
        seen += [one["id"] for one in page.json()["items"]]
        link = page.links.get("next", {}).get("url", "")
        path = link.removeprefix("/api/v1")
        assert bool(path) == (page.json()["next_cursor"] is not None)
    assert seen == made
    counted = api.get("/executions", params={"q": "pipeline:paged", "limit": 1, "count": "exact"}).json()
    assert counted["count"] == {"value": 5, "kind": "exact"}
    # A cursor of another query is no cursor
    assert api.get("/executions", params={"cursor": counted["next_cursor"]}).status_code == 422
    facets = api.get("/executions/facets", params={"q": "pipeline:paged", "by": "function"}).json()
    assert facets["facets"]["function"]["values"] == {"shop.add": 5}


def test_a_query_that_is_wrong_is_told_with_the_place(api: httpx.Client) -> None:
    answer = api.get("/executions", params={"q": "status:success AND colour:red"})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    problem = answer.json()
    assert problem["type"] == "/problems/invalid-query"
    assert problem["errors"][0]["position"] == 19
    assert problem["instance"] == answer.headers["x-request-id"]
    parts = urlsplit(str(api.base_url))
    assert httpx.get(f"{parts.scheme}://{parts.netloc}{problem['type']}").status_code == 200


@pytest.mark.feature("C85")
def test_a_log_is_read_as_pages_as_text_and_as_json_lines(prefork: Fleet, api: httpx.Client) -> None:
    done = ended(api, launch(api, "shop.talks", "hello")["id"])
    path = f"/executions/{done['id']}/logs"
    first = api.get(path, params={"limit": 1}).json()
    rest = api.get(path, params={"after": first["next_line"]}).json()
    messages = [line["message"] for line in first["items"] + rest["items"]]
    assert len(first["items"]) == 1
    assert messages == [line["message"] for line in prefork.client.executions.get(done["id"]).logs()]
    assert (rest["ended"], rest["more"]) == (True, False)
    text = api.get(f"{path}.txt")
    assert text.headers["content-type"].startswith("text/plain")
    assert [line.split(maxsplit=2)[2] for line in text.text.splitlines()] == messages
    lines = [json.loads(line) for line in api.get(f"{path}.ndjson").text.splitlines()]
    assert [line["message"] for line in lines] == messages


def test_many_are_acted_on_by_a_query_after_a_dry_run(api: httpx.Client) -> None:
    for number in range(3):
        launch(api, "shop.add", number, 1, countdown=3600, stage="bulk")
    ended(api, launch(api, "shop.add", 1, 1, stage="bulk")["id"])

    def act(code: int, **body: Any) -> dict[str, Any]:
        answer = api.post("/bulk", json={"action": "terminate", "q": "stage:bulk", **body})
        assert answer.status_code == code, answer.text
        found: dict[str, Any] = answer.json()
        assert code != 202 or answer.headers["location"] == f"/api/v1/bulk/{found['id']}"
        return found

    # It has to be said that it is meant
    plan = act(200)
    assert (plan["matched"], plan["eligible"], plan["skipped"]) == (4, 3, {"ended already": 1})
    assert over(api, act(202, dry_run=False, limit=2)["id"])["done"] == 2
    done = over(api, act(202, dry_run=False, reason="wrong data")["id"])
    assert (done["state"], done["total"], done["done"], done["skipped"]) == ("done", 4, 1, {"ended already": 3})
    assert api.get("/bulk", params={"limit": 1}).json()["items"][0]["id"] == done["id"]
    (one,) = api.get("/executions", params={"q": done["query"]}).json()["items"]
    assert one["message"] == "wrong data"
    again = over(api, act(202, action="rerun", q=None, ids=[one["id"], "nothing"], dry_run=False)["id"])
    assert (again["done"], again["skipped"], again["ids"]) == (1, {"unknown id": 1}, 2)
    for wrong in ({"q": ""}, {"ids": ["x"]}, {"action": "explode"}, {"limit": 0}, {"action": "rerun", "force": True}):
        assert api.post("/bulk", json={"action": "terminate", "q": "stage:bulk", **wrong}).status_code == 422
    assert api.post(f"/bulk/{done['id']}/cancel").json()["state"] == "done"
    assert [api.get("/bulk/nothing").status_code, api.post("/bulk/nothing/cancel").status_code] == [404, 404]


def over(api: httpx.Client, bulk_id: str) -> dict[str, Any]:
    """Follow a bulk to its end."""
    text = api.get(f"/bulk/{bulk_id}/stream").text
    assert text.endswith("event: bye\ndata: {}\n\n")
    found: dict[str, Any] = api.get(f"/bulk/{bulk_id}").json()
    assert json.loads(text.rpartition("event: bulk.progress\ndata: ")[2].splitlines()[0]) == found
    return found


def test_an_export_is_a_file_in_three_formats(api: httpx.Client) -> None:
    name = '=HYPERLINK("x"), "quoted"\nline'
    launch(api, "shop.add", 1, 1, pipeline="exported", name=name)
    launch(api, "shop.add", 2, 2, pipeline="exported")

    def export(kind: str) -> str:
        answer = api.get("/exports/executions", params={"q": "pipeline:exported", "sort": "created", "format": kind})
        assert answer.headers["content-disposition"] == f'attachment; filename="executions.{kind}"'
        return answer.text

    rows = list(csv.DictReader(io.StringIO(export("csv"), newline="")))
    # What a spreadsheet would take for a formula is text
    assert [row["name"] for row in rows] == [f"'{name}", ""]
    as_json, as_lines = json.loads(export("json")), [json.loads(line) for line in export("jsonl").splitlines()]
    assert as_json == as_lines
    assert [one["name"] for one in as_json] == [name, None]
    assert [row["id"] for row in rows] == [one["id"] for one in as_json]
    assert api.get("/exports/executions", params={"q": "pipeline:"}).status_code == 422


def test_the_fleet_is_told_of(prefork: Fleet, api: httpx.Client) -> None:
    (worker,) = [one for one in api.get("/workers").json() if one["alive"]]
    assert worker["facts"]["concurrency"] == 2
    name = worker["name"]
    assert api.post(f"/workers/{name}/drain").status_code == 202
    eventually(lambda: api.get(f"/workers/{name}").json()["facts"]["draining"], "the worker drains")
    launched = launch(api, "shop.add", 1, 1)
    queue = api.get("/queues/celery").json()
    assert (queue["pending"] > 0, queue["oldest"] is not None) == (True, True)
    assert prefork.client.queues.list()[0] == Queue(
        name="celery", pending=queue["pending"], running=queue["running"],
        oldest=datetime.fromisoformat(queue["oldest"]), workers=tuple(queue["workers"]),
    )  # fmt: skip
    api.post(f"/workers/{name}/resume")
    assert ended(api, launched["id"])["output"] == 2
    assert "shop.add" in {one["name"] for one in api.get("/functions").json()}
    assert [one["name"] for one in api.get("/functions/shop.add").json()["parameters"]] == ["x", "y"]


def test_prometheus_reads_numbers(web: Web, api: httpx.Client) -> None:
    ended(api, launch(api, "shop.add", 1, 1)["id"])
    text = httpx.get(f"{web.url}/metrics").text
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(samples['executions_count{status="success"}']) >= 1
    assert any(name.startswith("executions_worker_up{") and value == "1" for name, value in samples.items())


def test_what_happened_to_all_is_read_on_from_where_one_was(api: httpx.Client) -> None:
    cursor = api.get("/events", params={"limit": 500}).json()["next_cursor"]
    while items := (page := api.get("/events", params={"since": cursor, "limit": 500}).json())["items"]:
        cursor = page["next_cursor"]
        assert items
    done = ended(api, launch(api, "shop.add", 1, 1)["id"])
    events = api.get("/events", params={"since": cursor}).json()["items"]
    assert [one["status"] for one in events if one["id"] == done["id"]] == ["pending", "running", "success"]
