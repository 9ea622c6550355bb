"""Requests that no server can read are answered, not only hung up on."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from executions.server.heads import LONGEST_HEAD
from tests.web import served


@pytest.fixture(scope="module")
def address(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(server_url, "t-web-heads", "--prefix", "/ops", folder=tmp_path_factory.mktemp("web")) as started:
        yield started.url


@pytest.mark.parametrize("size", [3 * LONGEST_HEAD, 5_000_000])
def test_an_address_that_is_too_long_is_told_so_however_much_follows(address: str, size: int) -> None:
    for _ in range(5):  # a reset is a race, and this is how often it was lost before
        found = httpx.get(f"{address}/api/v1/events", params={"since": "1" * 60_000}, headers={"X-Long": "x" * size})
        assert found.status_code == 431
        assert found.headers["content-type"] == "application/problem+json"
        assert found.json()["type"] == "/ops/problems/head-too-large"
        assert str(LONGEST_HEAD) in found.json()["detail"]


def test_what_is_no_http_is_told_so_and_the_server_goes_on(address: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=10)
    connection.connect()
    connection.sock.sendall(b"how do you do?\r\n\r\n" + b"x" * 1_000_000)
    answer = http.client.HTTPResponse(connection.sock)
    answer.begin()
    assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")
    assert b"/problems/malformed" in answer.read()
    connection.close()
    assert httpx.get(f"{address}/healthz").status_code == 200


def test_the_kinds_have_pages(address: str) -> None:
    for slug in ("head-too-large", "malformed"):
        assert httpx.get(f"{address}/problems/{slug}").status_code == 200
