"""Large values go to the payload store, secrets stay out of sight, and the function gets what was sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from executions import InvalidInput
from tests.acceptance.fleet import Fleet, events, eventually

LARGE = 200 * 1024
#: What may lie in broker or record at most.
LIMIT = 64 * 1024


def _stored(fleet: Fleet) -> Iterator[tuple[str, int]]:
    """Give every key of the server's database with its size, whoever wrote it."""
    client: Any = fleet.client._parts.space.client
    for key in client.scan_iter("*"):
        kind = client.type(key).decode()
        size = {"string": client.strlen, "list": lambda k: max((len(i) for i in client.lrange(k, 0, -1)), default=0)}
        if kind == "hash":
            yield key.decode(), max(len(value) for value in client.hvals(key))
        elif kind in size:
            yield key.decode(), size[kind](key)


def test_large_arguments_never_pass_through_broker_or_record(fleet: Fleet) -> None:
    result = fleet.shop.length.delay("x" * LARGE)
    waiting = fleet.client.executions.get(result.id)
    too_large = {key: size for key, size in _stored(fleet) if size > LIMIT}
    worker = fleet.start("prefork", 1)
    try:
        assert too_large == {}
        assert result.get(timeout=20) == LARGE
        assert waiting.inputs["args"] == [f"[{LARGE + 10} bytes in the payload store]"] or "bytes" in str(
            waiting.inputs
        )
        again = fleet.done(result).rerun().wait(20)
        assert again.output == LARGE
    finally:
        worker.stop()


@pytest.mark.feature("F27")
def test_large_results_go_to_the_payload_store(prefork: Fleet) -> None:
    large = 5 * 1024 * 1024
    result = prefork.shop.big.delay(large)
    assert len(result.get(timeout=20)) == large
    done = prefork.done(result)
    assert done.output == "x" * large
    assert {key: size for key, size in _stored(prefork) if size > LIMIT} == {}
    assert len(prefork.shop.app.AsyncResult(result.id).get(timeout=5)) == large


@pytest.mark.feature("F28", "F29", "F30", "F40")
def test_what_went_in_and_came_out_is_downloaded_into_a_folder(prefork: Fleet, tmp_path: Path) -> None:
    raw = bytes(range(256))
    result = prefork.shop.echo.delay(1, [raw, "é"], password="hunter5", **{"../up": {"k": None}, "a/b": 1, "a\\b": 2})
    done = prefork.done(result)
    folder = done.download(tmp_path / "deep" / "one")
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found["output/args/1/0"] == found["inputs/1/0"] == raw
    assert json.loads(found["output/kwargs.json"])["password"] == "hunter5"
    shown = {name: json.loads(text) for name, text in found.items() if name.startswith("inputs/") and "json" in name}
    assert shown == {
        "inputs/0.json": 1, "inputs/1/1.json": "é", "inputs/password.json": "[redacted]",
        "inputs/__up.json": {"k": None}, "inputs/a_b.json": 1, "inputs/a_b-5.json": 2,
    }  # fmt: skip
    # Nothing is written over, and an output that is no object is one file
    with pytest.raises(InvalidInput, match="not an empty folder"):
        done.download(folder)
    large = prefork.done(prefork.shop.big.delay(LARGE)).download(tmp_path / "two")
    assert json.loads((large / "output.json").read_text()) == "x" * LARGE
    assert done.url == f"http://127.0.0.1:5560/executions/{done.id}"


def test_what_it_started_is_downloaded_with_it(prefork: Fleet, tmp_path: Path) -> None:
    done = prefork.done(prefork.shop.spawn.delay(2))
    folder = done.download(tmp_path / "tree", recursive=True)
    numbers = [str(child.number) for child in done.children()]
    assert numbers
    assert sorted(path.name for path in (folder / "children").iterdir()) == sorted(numbers)
    assert (folder / "children" / numbers[0] / "inputs").is_dir()


def test_a_function_that_loses_its_folder_does_not_lose_the_payloads(fleet: Fleet) -> None:
    # Given a store that is named from the worker's folder, and a function that changes to another and removes it
    worker = fleet.start("threads", 1, EXECUTIONS_PAYLOADS="payloads")
    try:
        result = fleet.shop.loses_its_folder.delay(fleet.path(), LARGE)
        assert len(result.get(timeout=20)) == LARGE
        # I expect the next one in that process to reach the store too
        assert fleet.shop.length.delay("z" * LARGE).get(timeout=20) == LARGE
    finally:
        worker.stop()


def test_a_retry_keeps_large_arguments(prefork: Fleet) -> None:
    result = prefork.shop.flaky_length.delay("y" * LARGE)
    assert result.get(timeout=20) == [LARGE, 2]
    assert {key: size for key, size in _stored(prefork) if size > LIMIT} == {}


def test_a_large_value_goes_through_a_chain(prefork: Fleet) -> None:
    shop = prefork.shop
    assert (shop.big.s(LARGE) | shop.length.s()).apply_async().get(timeout=20) == LARGE
    assert {key: size for key, size in _stored(prefork) if size > LIMIT} == {}


def test_secrets_are_hidden_everywhere_but_from_the_function(prefork: Fleet) -> None:
    result = prefork.shop.secretive.delay("ann", password="hunter2", api_key="k-12345")
    assert result.get(timeout=20) == "ann/hunter2/k-12345"
    done = prefork.done(result)
    assert done.inputs == {"args": ["ann"], "kwargs": {"password": "[redacted]", "api_key": "[redacted]"}}
    assert prefork.done(done.rerun()).output == "ann/hunter2/k-12345"


def test_positional_secrets_are_known_by_their_parameter(prefork: Fleet) -> None:
    result = prefork.shop.secretive.delay("bob", "hunter3")
    assert result.get(timeout=20) == "bob/hunter3/None"
    assert prefork.done(result).inputs["args"] == ["bob", "[redacted]"]


def test_secrets_are_not_in_events_and_logs(prefork: Fleet) -> None:
    with events(prefork) as seen:
        result = prefork.shop.fail_secret.delay(password="hunter4")
        prefork.done(result)
        eventually(lambda: any(event["type"] == "task-failed" for event in seen), "events")
    text = json.dumps(seen, default=str)
    assert result.id in text
    assert "hunter4" not in text
    assert "[redacted]" in text
    assert "hunter4" not in prefork.workers[-1].log


@pytest.mark.feature("D47")
def test_what_a_function_prints_and_logs_is_on_its_record(prefork: Fleet) -> None:
    result = prefork.shop.talks.delay("hello")
    done = prefork.done(result)
    messages = [line["message"] for line in done.logs()]
    assert messages == ["printed hello", "logged hello"]
