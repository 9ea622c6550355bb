"""Exports of many rows: in flat memory, ended early by either side, harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from executions import InvalidInput, Status, Unsupported, connect, read_export
from executions.cli.documents import export
from executions.columns import SUMMARY
from tests.conftest import StartServer
from tests.integration.randomly import Registry, filled_registry
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


@pytest.fixture
def filled(server_url: str) -> Iterator[Registry]:
    """Some hundred executions of every kind, over several shards."""
    yield from filled_registry(server_url, 16)


@pytest.mark.feature("C49")
def test_what_was_exported_whole_is_read_back_equal(server_url: str, filled: Registry) -> None:
    typed = {"at": datetime(2026, 1, 31, tzinfo=UTC), "cost": Decimal("1.10"), "raw": b"\xff"}
    with connect(server_url, namespace=filled.space.namespace) as client:
        one = client.submit("shop.add", typed, name="typed", properties={"day": date(2026, 1, 31)}, queue="nobody")
        one.add_note("seen").terminate(cause="wrong data")
        ids = [*filled.ids, one.id]
        there = list(client.executions.whole(ids))
        assert len(there) == len(ids)
        assert {execution.status for execution in there} == set(Status) - {Status.CACHED}
        for kind in ("json", "jsonl"):
            found = list(read_export(export(kind, iter(there), ())))
            assert found == there
            assert [execution.output for execution in found] == [execution.output for execution in there]
            assert [execution.metrics() for execution in found] == [execution.metrics() for execution in there]
        assert found[-1].inputs["args"] == [typed]
        assert client.executions.get(one.id) == found[-1]
        with pytest.raises(Unsupported, match="read it through a client"):
            found[-1].wait()
        with pytest.raises(InvalidInput, match="export whole ones"):
            list(read_export(export("jsonl", iter(there), SUMMARY)))


@pytest.mark.feature("C51")
def test_many_are_exported_by_id_or_number_and_the_unknown_are_told(
    server_url: str, namespace: str, tmp_path: Path
) -> None:
    with connect(server_url, namespace=namespace) as client:
        one, two, three = (client.submit("shop.add", name=name, queue="nobody") for name in "abc")
        asked = ",".join([two.id, "nothing", str(one.number), two.id, "987654"])
        with served(server_url, namespace, folder=tmp_path) as web:
            url = f"{web.url}/api/v1/exports/executions"
            answer = httpx.get(url, params={"ids": asked, "format": "json"})
            rows = answer.json()
            lines = httpx.get(url, params={"ids": asked, "format": "jsonl", "whole": True}).text
            table = csv.DictReader(io.StringIO(httpx.get(url, params={"ids": asked}).text, newline=""))
            assert [row["id"] for row in table if row["status"] == "unknown"] == ["nothing", "987654"]
            for wrong in ({"ids": "x", "q": "y"}, {"whole": True}, {"ids": "x," * 1001}):
                assert httpx.get(url, params=wrong).status_code == 422, wrong
        assert [row["id"] for row in rows] == [two.id, one.id, "nothing", "987654"]
        assert (rows[2], answer.headers["x-unknown-ids"]) == ({"id": "nothing", "status": "unknown"}, "2")
        assert list(read_export([lines])) == list(client.executions.whole([two.id, one.id]))
        assert three.id not in answer.text


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
