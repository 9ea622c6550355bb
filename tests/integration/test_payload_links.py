"""Inputs and outputs by links that hold for a while, for whoever has them, on every web process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from executions import Client, Conflict, InvalidInput, NotFound, connect
from executions.client import payloads
from executions.clock import ManualClock
from executions.execution import Execution
from executions.function import Function
from executions.registry.transitions import Ending
from executions.states import Status
from tests.web import bearer, served

BIG = "x" * 200_000


@pytest.fixture
def client(server_url: str, namespace: str, tmp_path: Path) -> Iterator[Client]:
    with connect(server_url, namespace=namespace, payloads=str(tmp_path), payload_threshold=1024) as made:
        yield made


def ran(client: Client, output: Any, *args: Any, **kwargs: Any) -> Execution:
    """Have a function run here and give this."""
    made = client.submit("shop.add", *args, **kwargs)
    parts, text = client._parts, json.dumps(output)
    parts.transitions.start(made.id, 1, worker="w1@host", pid=1, pool="solo")
    kept = ("out", text) if len(text) < 1024 else ("or", parts.payloads.put(text))
    parts.transitions.finish(made.id, 1, Ending(status=Status.SUCCESS, result="null", fields=kept))
    return made.refresh()


def know(client: Client, **parameters: Any) -> None:
    """Have a worker tell of the function."""
    client._parts.catalogue.tell([Function(name="shop.add", **parameters)], worker="w1@host", anew=True)


@pytest.mark.feature("F26")
@pytest.mark.parametrize("output", [{"n": 7}, BIG], ids=["small", "large"])
def test_a_link_gives_the_same_bytes_to_whoever_has_it_until_its_end(
    client: Client, server_url: str, namespace: str, tmp_path: Path, output: Any
) -> None:
    made = ran(client, output, 1, 2)
    token = client.people.create_token("viewer", "view")
    path = f"/api/v1/executions/{made.id}/payloads/output"
    with (
        served(server_url, namespace, folder=tmp_path, EXECUTIONS_PAYLOADS=str(tmp_path)) as web,
        served(server_url, namespace, folder=tmp_path, EXECUTIONS_PAYLOADS=str(tmp_path)) as other,
    ):
        assert httpx.get(web.url + path).status_code == 401
        found = httpx.get(web.url + path, headers=bearer(token), params={"lasts": 60}).json()
        for one in (web, other):
            answer = httpx.get(one.url + found["url"])
            assert (answer.status_code, answer.json()) == (200, output)
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["content-disposition"].endswith(f"{made.id}-output.json")
        followed = httpx.get(web.url + path, headers=bearer(token), params={"follow": "true"}, follow_redirects=True)
        assert followed.content == answer.content
        # What is changed about it makes it another one
        asked = {name: values[0] for name, values in parse_qs(urlsplit(found["url"]).query).items()}
        for changed in (
            {"expires": str(int(asked["expires"]) + 1)}, {"attempt": "2"},
            {"signature": "0" * 64}, {"signature": "\u00e9"},
        ):  # fmt: skip
            url = f"{web.url}/api/v1/payloads/{made.id}/output?{urlencode(asked | changed)}"
            assert httpx.get(url).json()["type"] == "/problems/link-over", changed
        assert httpx.get(web.url + found["url"].replace("/output", "/input")).status_code == 410
        # ... and once the secret is another one it holds no more, which people are told on a page
        client.payloads.revoke()
        page = httpx.get(other.url + found["url"], headers={"Accept": "text/html"})
        assert page.status_code == 410
        assert "This link is over" in page.text
    told = [one for one in client.audit.list() if one.action == "make_payload_link"]
    assert [(one.who, one.target, one.detail) for one in told][-1] == ("viewer", f"{made.id} output", "output, 60 s")


def test_pieces_can_be_asked_for(client: Client, server_url: str, namespace: str, tmp_path: Path) -> None:
    made = ran(client, BIG)
    with served(server_url, namespace, folder=tmp_path, EXECUTIONS_PAYLOADS=str(tmp_path)) as web:
        url = web.url + httpx.get(f"{web.url}/api/v1/executions/{made.id}/payloads/output").json()["url"]
        whole = httpx.get(url)
        size = len(whole.content)
        for asked, status, piece in (
            ("bytes=0-9", 206, whole.content[:10]), ("bytes=10-", 206, whole.content[10:]),
            ("bytes=-5", 206, whole.content[-5:]), (f"bytes={size - 1}-{size + 50}", 206, whole.content[-1:]),
            (f"bytes={size}-", 416, b""), ("bytes=-0", 416, b""), ("bytes=9-2", 200, whole.content),
            ("lines=1-2", 200, whole.content), ("bytes=0-1,3-4", 200, whole.content),
        ):  # fmt: skip
            answer = httpx.get(url, headers={"Range": asked})
            assert answer.status_code == status, asked
            assert status == 416 or answer.content == piece, asked
        assert httpx.get(url, headers={"Range": "bytes=0-9"}).headers["content-range"] == f"bytes 0-9/{size}"
        same, old = {"If-Range": whole.headers["etag"]}, {"If-Range": '"another"'}
        assert httpx.get(url, headers={"Range": "bytes=0-9", **same}).status_code == 206
        assert httpx.get(url, headers={"Range": "bytes=0-9", **old}).status_code == 200


def test_a_link_ends_and_does_not_lead_to_what_a_later_attempt_gave(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    monkeypatch.setattr(payloads, "SYSTEM_CLOCK", clock)
    made = ran(client, 7)
    link = client.payloads.link(made.id, "output", 60)
    clock.advance(59)
    client.payloads.check(link)
    clock.advance(1)
    with pytest.raises(Conflict, match="was good until"):
        client.payloads.check(link)
    made.rerun()
    with pytest.raises(NotFound):
        client.payloads.read(made.id, "output", link.attempt)
    for lasts in (0, -1, True, 8 * 24 * 3600):
        with pytest.raises(InvalidInput):
            client.payloads.link(made.id, "input", lasts)
    with pytest.raises(InvalidInput):
        client.payloads.link(made.id, "log")


def test_secrets_stay_secret_however_large_the_inputs_are(client: Client) -> None:
    small = client.submit("shop.add", 1, password="hunter2")
    assert client.payloads.read(small.id, "input") == '[[1],{"password":"[redacted]"}]'
    large = client.submit("shop.add", BIG, password="hunter2", pin=1234)
    with pytest.raises(Conflict, match="nobody knows"):
        client.payloads.read(large.id, "input")
    know(client, redact=("pin",))
    settings = client.settings
    with connect(settings.url, namespace=settings.namespace, payloads=settings.payloads) as later:
        shown = json.loads(later.payloads.read(large.id, "input"))
        assert shown == [[BIG], {"password": "[redacted]", "pin": "[redacted]"}]
        harmless = client.submit("shop.add", BIG, n=2)
        assert json.loads(later.payloads.read(harmless.id, "input")) == [[BIG], {"n": 2}]
