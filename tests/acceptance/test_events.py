"""A subscriber in a process of its own, which is killed and goes on where it was."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.fleet import Fleet, eventually

SUBSCRIBER = """
import json, pathlib, sys
import executions

file = pathlib.Path(sys.argv[2])
seen = file.read_text().splitlines() if file.exists() else []
since = json.loads(seen[-1])["cursor"] if seen else None
feed = executions.connect(sys.argv[1]).executions.events("status:failed", follow=True, since=since)
with file.open("a") as out:
    for event in feed:
        print(json.dumps(event, default=str), file=out, flush=True)
"""


@pytest.mark.feature("D56")
def test_a_subscriber_hears_of_each_failure_once_even_if_it_is_killed(prefork: Fleet) -> None:
    path = Path(prefork.path())

    def subscribe() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", SUBSCRIBER, prefork.url, str(path)], env=prefork.environ)

    def heard() -> list[dict[str, Any]]:
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def fail(text: str) -> str:
        return str(prefork.client.submit("shop.fail", text).wait(timeout=20).id)

    # Given a subscriber that has heard of a failure by push
    subscriber = subscribe()
    try:
        failed = [fail("one")]
        prefork.client.submit("shop.add", 1, 1).wait(timeout=20)
        eventually(lambda: len(heard()) == 1, "the first failure", timeout=10)
        # If it is killed, and things fail while it is away
        subscriber.kill()
        subscriber.wait(timeout=10)
        failed += [fail("two"), fail("three")]
        subscriber = subscribe()
        failed.append(fail("four"))
        eventually(lambda: len(heard()) >= 4, "all failures", timeout=10)
    finally:
        subscriber.kill()
        subscriber.wait(timeout=10)
    # I expect each failure once, in order, with what an alert needs
    assert [event["id"] for event in heard()] == failed
    assert [event["message"] for event in heard()] == [f"ValueError: {n}" for n in ("one", "two", "three", "four")]
    assert {(event["reason"], event["function"]) for event in heard()} == {("error", "shop.fail")}
