"""Exports of many rows: in flat memory, ended early by either side, harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import httpx
import pytest

from executions import connect
from tests.conftest import StartServer
from tests.web import Web, served

ROWS = 10_000

#: Bytes that a process may grow by: the executions would take several times as much.
ROOM = 12 * 1024 * 1024


def highest_memory(web: Web) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{web.process.pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


@pytest.mark.feature("C48", "C51")
@pytest.mark.parametrize("kind", ["csv", "jsonl", "json"])
def test_many_rows_are_sent_in_flat_memory(server_url: str, tmp_path: Path, kind: str) -> None:
    namespace = "t-exports"
    with connect(server_url, namespace=namespace) as client:
        there = client.executions.count()
        client.map("shop.add", ((number, 1) for number in range(ROWS - there)), queue="nobody")
    with served(server_url, namespace, folder=tmp_path) as web:
        url = f"{web.url}/api/v1/exports/executions"
        httpx.get(url, params={"q": "id:nothing", "format": kind})
        before, ends = highest_memory(web), 0
        with httpx.stream("GET", url, params={"format": kind}, timeout=60) as answer:
            for piece in answer.iter_bytes():
                ends += piece.count(b"\n")
        assert ends == ROWS + (kind == "csv")
        assert highest_memory(web) - before < ROOM


def test_who_goes_away_in_the_middle_leaves_nothing_behind(server_url: str, namespace: str, tmp_path: Path) -> None:
    with connect(server_url, namespace=namespace) as client:
        client.map("shop.add", ((number, 1) for number in range(1000)), queue="nobody")
    with served(server_url, namespace, folder=tmp_path) as web:
        for _ in range(5):
            with httpx.stream("GET", f"{web.url}/api/v1/exports/executions") as answer:
                next(answer.iter_bytes(100))
        assert httpx.get(f"{web.url}/readyz").status_code == 200
    assert (tmp_path / "serve.log").read_text() == ""


def test_a_file_that_is_not_whole_does_not_look_so(start_server: StartServer, namespace: str, tmp_path: Path) -> None:
    registry = start_server()
    with connect(registry.url, namespace=namespace) as client:
        client.map("shop.add", ((number, 1) for number in range(ROWS)), queue="nobody")
    with served(registry.url, namespace, folder=tmp_path, EXECUTIONS_PATIENCE_S="1") as web:
        stream = httpx.stream("GET", f"{web.url}/api/v1/exports/executions", params={"format": "jsonl"}, timeout=20)
        with stream as answer:
            pieces = answer.iter_bytes()
            next(pieces)
            registry.stop()
            with pytest.raises(httpx.RemoteProtocolError):
                list(pieces)


def test_no_cell_is_a_formula(server_url: str, namespace: str, tmp_path: Path) -> None:
    evil = ["=cmd|'/c calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1+1"]
    with connect(server_url, namespace=namespace) as client:
        for one in evil:
            client.submit("shop.add", name=one, tags=[one, "b"], pipeline=one)
    with served(server_url, namespace, folder=tmp_path) as web:
        text = httpx.get(f"{web.url}/api/v1/exports/executions").text
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert {row["name"] for row in rows} == {f"'{one}" for one in evil}
    cells = [cell for row in rows for cell in row.values()]
    assert [cell for cell in cells if cell.lstrip()[:1] in ("=", "+", "-", "@", "\uff1d")] == []
