"""Records of every format that was ever released are read; records of a newer one are refused in one line.

`samples/` has records as they were written, with what they mean. A new format adds samples. None is ever changed
or removed: they stand for data on servers that we cannot see.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from executions import connect
from executions.errors import Unsupported
from executions.execution import Execution
from executions.registry import keys
from executions.registry.edits import Edit
from executions.registry.queries import Queries
from executions.registry.records import FORMAT, SUMMARY_FIELDS, decode_record
from executions.registry.transitions import Found, Opened, Started
from executions.states import TERMINAL, Status
from tests.contract.world import FAILURE, SUCCESS, World

SAMPLES = sorted((Path(__file__).parent / "samples").glob("format-*.json"))
EACH = pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def meaning(picture: Execution) -> dict[str, Any]:
    """Give the part of a picture that samples tell."""
    return {
        "status": picture.status,
        "reason": picture.reason,
        "function": picture.function,
        "attempt": picture.attempt,
        "tags": list(picture.tags),
        "name": picture.name,
        "pipeline": picture.pipeline,
        "service_version": picture.service_version,
        "progress": picture.progress,
        "properties": picture.properties,
        "inputs": picture.inputs,
        "error": picture.error and picture.error.message,
        "worker": picture.worker,
        "parent_id": picture.parent_id,
        "root_id": picture.root_id,
        "created": picture.created and picture.created.isoformat(),
        "finished": picture.finished and picture.finished.isoformat(),
        "to_terminate": picture.to_terminate,
        "max_attempts": picture.max_attempts,
        "log": [
            f"{entry['status']}/{entry['reason']} {entry['attempt']} {entry['principal'] or ''}".strip()
            for entry in picture.status_log
        ],
        "attempts": [f"{attempt.number} {attempt.status} {attempt.worker}" for attempt in picture.attempts_log],
    }


def test_every_format_has_samples() -> None:
    assert {int(path.stem.split("-")[1]) for path in SAMPLES} == set(range(1, FORMAT + 1))


@EACH
def test_a_stored_record_means_what_it_meant(path: Path) -> None:
    sample = read(path)
    assert meaning(decode_record(sample["id"], sample["record"])) == sample["means"]


@EACH
def test_a_list_shows_of_it_what_the_whole_says(path: Path) -> None:
    sample = read(path)
    part = {code: value for code, value in sample["record"].items() if code in SUMMARY_FIELDS}
    assert decode_record(sample["id"], part).status == sample["means"]["status"]


def put(world: World, sample: dict[str, Any], **changed: str) -> str:
    """Store a sample as an older version left it, and give its id."""
    one = sample["id"]
    world.ids.append(one)
    world.space.client.hset(world.space.keys(one).record(one), mapping={**sample["record"], **changed})
    return str(one)


@EACH
def test_a_stored_record_goes_on_where_it_stood(world: World, path: Path) -> None:
    sample = read(path)
    one = put(world, sample)
    status, attempt = Status(sample["means"]["status"]), sample["means"]["attempt"]
    if status in TERMINAL:
        assert world.rerun(one) == Opened(attempt + 1)
    if status is Status.RUNNING:
        world.transitions.finish(one, attempt, SUCCESS)
        assert world.state(one) == ("success", "", attempt)
    else:
        assert isinstance(world.start(one, attempt + 1), Started)
        assert world.picture(one).attempt == attempt + 1


NEWER: dict[str, Callable[[World, str], Any]] = {
    "submit": lambda w, one: w.transitions.submit(w.submission(one)),
    "submit many": lambda w, one: w.transitions.submit_many([w.submission(one)]),
    "start": lambda w, one: w.start(one),
    "finish": lambda w, one: w.transitions.finish(one, 1, SUCCESS),
    "settle": lambda w, one: w.transitions.settle(one, FAILURE),
    "retry": lambda w, one: w.transitions.retry(one, 1),
    "terminate": lambda w, one: w.terminate(one),
    "rerun": lambda w, one: w.rerun(one),
    "park": lambda w, one: w.transitions.park(one),
    "supply": lambda w, one: w.transitions.supply(one, coming=(), function=""),
    "annotate": lambda w, one: w.transitions.annotate(one, None, tags=("seen",)),
    "edit": lambda w, one: w.parts.edits.edit(one, Edit(add_tags=["seen"])),
    "note": lambda w, one: w.parts.edits.note(one, "ann", "seen"),
    "get": lambda w, one: Queries(w.space, lambda execution: execution).get(one),
}


@pytest.mark.parametrize("verb", NEWER)
def test_a_newer_record_is_refused_in_one_line_and_left_alone(world: World, verb: str) -> None:
    one = put(world, read(SAMPLES[0]), v=str(FORMAT + 1))
    before = world.snapshot()
    with pytest.raises(Unsupported) as refused:
        NEWER[verb](world, one)
    text = str(refused.value)
    assert "newer version of Executions; upgrade this process" in text
    assert "\n" not in text
    assert world.snapshot() == before
    assert not isinstance(refused.value, Found)


def test_a_newer_registry_is_refused_at_the_first_use(server_url: str, namespace: str) -> None:
    client = connect(server_url, namespace=namespace)
    client._parts.space.client.hset(keys.schema(namespace), mapping={"format": FORMAT + 1, "shards": 1})
    with pytest.raises(Unsupported, match=rf"format {FORMAT + 1}, this version reads up to {FORMAT}; upgrade"):
        client.executions.count()
