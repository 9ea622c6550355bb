"""Bulks: what is selected, what is done, and that it is done once whoever dies on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from executions import Client, InvalidInput, NotFound, WaitTimeout, connect
from executions.bulk import Bulk, BulkState
from executions.client import carrier
from executions.execution import Execution
from executions.ids import new_id
from executions.registry.bulks import Tally
from executions.upkeep.bulk_carrier import BulkCarrier
from tests.conftest import Eventually
from tests.web import served

ROOT = Path(__file__).parents[2]

#: Seconds after which one who carries a bulk on and is silent counts as dead; the beat goes with it.
LEASE = {"lease_s": 0.9, "beat_s": 0.3}


@pytest.fixture
def client(server_url: str, namespace: str) -> Iterator[Client]:
    with connect(server_url, namespace=namespace, principal="ann@desk", **LEASE) as made:
        yield made


def waiting(client: Client, count: int, **options: Any) -> list[Execution]:
    """Submit executions to a queue that nobody serves."""
    return client.map("shop.add", [(number, 1) for number in range(count)], queue="nobody", **options)


def ended(client: Client, count: int, **options: Any) -> list[Execution]:
    found = waiting(client, count, **options)
    client.executions.terminate("status:pending")
    return found


def reasons(execution: Execution) -> list[str]:
    return [entry["reason"] for entry in execution.refresh().status_log]


def test_a_plan_says_how_many_and_why_not_the_others(client: Client) -> None:
    ended(client, 2, stage="many")
    waiting(client, 3, stage="many")
    plan = client.bulk.plan("terminate", "stage:many")
    assert (plan.matched, plan.eligible, plan.others, plan.complete) == (5, 3, {"ended already": 2}, True)
    assert client.bulk.plan("rerun", "stage:many").others == {"still pending": 3}
    assert client.bulk.plan("relaunch", "stage:many").eligible == 5
    known = client.executions.list(limit=1)[0].id
    named = client.bulk.plan("rerun", ids=[known, known, new_id()])
    assert (named.matched, named.eligible, named.others) == (2, 0, {"still pending": 1, "unknown id": 1})
    assert client.bulk.list() == [client.bulk.list()[0]], "only that of the fixture; a plan writes nothing down"


def test_each_action_is_done_to_all_in_the_name_of_who_asked(client: Client) -> None:
    found = waiting(client, 250, stage="many")
    done = client.bulk("terminate", "stage:many", reason="wrong data").wait()
    assert (done.state, done.total, done.done, done.skipped) == ("done", 250, 250, {})
    last = found[0].refresh().status_log[-1]
    assert (last["principal"], last["message"]) == ("ann@desk", "wrong data")
    assert client.executions.count(done.query) == 250

    again = client.bulk("rerun", "stage:many", limit=120).wait()
    assert (again.done, client.executions.count("status:pending")) == (120, 120)
    marked = client.bulk("tag", "stage:many", tags=["seen", "later"]).wait()
    assert (marked.done, client.executions.count("tag:seen tag:later")) == (250, 250)
    copied = client.bulk("relaunch", ids=[one.id for one in found[:3]]).wait()
    assert copied.done == 3
    assert {one.reference for one in client.executions.list(limit=3)} == {one.id for one in found[:3]}
    assert [one.id for one in client.bulk.list()] == [copied.id, marked.id, again.id, done.id]


def test_what_is_rerun_is_not_selected_again_nor_what_comes_later(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = ended(client, 30, stage="many")
    monkeypatch.setattr(carrier, "BATCH", 10)
    bulk = client.bulk("rerun", "stage:many")
    later = ended(client, 5, stage="many")
    # Those of the middle run and end before it comes to them
    for one in found[10:15]:
        one.rerun().terminate()
    done = bulk.wait()
    assert (done.done, done.skipped) == (25, {"ended after it began": 5})
    assert all("rerun" not in reasons(one) for one in later)
    # ... and relaunches match what they were made of, and are not of it either
    copies = client.bulk("relaunch", "stage:many").wait()
    assert copies.done == 35


def test_what_cannot_be_used_is_refused_before_anything_is_written(client: Client) -> None:
    refused: list[tuple[str, dict[str, Any]]] = [
        ("explode", {"query": "status:failed"}), ("rerun", {}), ("rerun", {"query": "a:b"}),
        ("rerun", {"query": "status:failed", "ids": ["x"]}), ("rerun", {"ids": []}),
        ("tag", {"query": "status:failed"}),
        ("rerun", {"query": "status:failed", "force": True}), ("rerun", {"query": "status:failed", "limit": 0}),
        ("terminate", {"query": "status:pending", "grace": -1}), ("rerun", {"ids": [str(n) for n in range(5001)]}),
    ]  # fmt: skip
    for action, given in refused:
        with pytest.raises(InvalidInput):
            client.bulk(action, **given)
    assert client.bulk.list() == []
    for verb in (client.bulk.get, client.bulk.cancel):
        with pytest.raises(NotFound):
            verb("nothing")


def test_a_cancelled_one_finishes_what_it_has_in_hand_and_goes_no_further(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrier, "BATCH", 10)
    waiting(client, 50)
    bulk = client.bulk("terminate", "status:pending").cancel()
    assert (bulk.state, bulk.cancelled_by) == (BulkState.RUNNING, "ann@desk")
    done = bulk.wait()
    assert (done.state, done.done, client.executions.count("status:pending")) == ("cancelled", 10, 40)
    assert done.cancel().state == "cancelled"


def test_one_that_cannot_be_done_keeps_no_other_from_it(client: Client) -> None:
    found = ended(client, 5)
    space = client._parts.space
    space.client.hset(space.keys(found[2].id).record(found[2].id), "pay", "@1.00")
    done = client.bulk("relaunch", ids=[one.id for one in found]).wait()
    assert (done.done, done.failed) == (4, {"PayloadMissing": 1})
    assert done.failures[0][0] == found[2].id


def test_while_one_carries_it_on_nobody_else_does_and_waiting_has_an_end(client: Client) -> None:
    waiting(client, 5)
    bulk = client.bulk("terminate", "status:pending")
    held = client.bulk._bulks.claim(bulk.id, "somebody")
    assert held is not None
    with pytest.raises(WaitTimeout):
        bulk.wait(0.3)
    # ... whose time is over, another goes on, and it is refused what it has to say
    done = bulk.wait(20)
    assert done.done == 5
    assert client.bulk._bulks.step(held[0], "somebody", Tally(done=5), held[1]) is None
    assert client.bulk.get(bulk.id).done == 5


def test_the_fleet_carries_on_what_nobody_does(client: Client) -> None:
    waiting(client, 150)
    bulk = client.bulk("terminate", "status:pending")
    chore = BulkCarrier(client._parts)
    while chore.run_once(0.0).left:
        pass
    assert (bulk.refresh().state, bulk.refresh().done) == ("done", 150)


#: Carries on what it is told to, and says so.
CARRIER = """
import sys
from executions import connect
client = connect(sys.argv[1], namespace=sys.argv[2], lease_s=0.9, beat_s=0.3)
print("carrying", flush=True)
client.bulk.get(sys.argv[3]).wait()
"""


def carry(server_url: str, namespace: str, bulk_id: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", CARRIER, server_url, namespace, bulk_id],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "carrying\n"
    return process


def is_beyond(bulk: Bulk, share: float) -> bool:
    return bulk.refresh().looked > share * (bulk.total or 0)


@pytest.mark.parametrize("action", ["rerun", "terminate", "relaunch"])
def test_carriers_are_killed_and_each_execution_is_acted_on_exactly_once(
    server_url: str, namespace: str, client: Client, eventually: Eventually, action: str
) -> None:
    found = (waiting if action == "terminate" else ended)(client, 600)
    bulk = client.bulk(action, ids=[one.id for one in found], reason="once")
    undone, over = [], threading.Event()

    def undo() -> None:
        """Bring what was acted on back to where it would be acted on again."""
        for event in client.executions.events(follow=True, since="now"):
            if over.is_set():
                return
            one = event["id"] and client.executions.get(event["id"])
            if one and action == "rerun" and event["reason"] == "rerun":
                undone.append(one.terminate(cause="undone"))
            if one and action == "terminate" and event["status"] == "terminated" and event["message"] == "once":
                undone.append(one.rerun())

    thread = threading.Thread(target=undo)
    thread.start()
    killed = 0
    for share in (0.1, 0.3, 0.5, 0.8):
        process = carry(server_url, namespace, bulk.id)
        with process:
            eventually(partial(is_beyond, bulk, share))
            os.kill(process.pid, signal.SIGKILL)
        killed += bulk.refresh().state == "running"
    done = bulk.wait(60)
    assert killed == 4, "each was killed in the middle of it"
    assert (done.state, done.done, done.skipped, done.failed) == ("done", 600, {}, {})
    if action == "relaunch":
        made = Counter(one.reference for one in client.executions.iterate("status:pending"))
        assert made == {one.id: 1 for one in found}
    else:
        eventually(lambda: len(undone) >= 600, within_s=60)
        told = [[e for e in one.refresh().status_log if e["message"] == "once"] for one in found]
        assert Counter(map(len, told)) == {1: 600}
    over.set()
    client.submit("shop.add", 1, 1)
    thread.join()


def test_a_web_process_is_killed_in_the_middle_and_the_next_one_goes_on(
    server_url: str, namespace: str, client: Client, eventually: Eventually, tmp_path: Path
) -> None:
    waiting(client, 1500)
    lease = {"EXECUTIONS_LEASE_S": "0.9", "EXECUTIONS_BEAT_S": "0.3"}
    with served(server_url, namespace, folder=tmp_path, **lease) as web:
        order = {"action": "terminate", "q": "status:pending", "dry_run": False}
        answer = httpx.post(f"{web.url}/api/v1/bulk", json=order)
        assert answer.status_code == 202
        bulk = client.bulk.get(answer.json()["id"])
        eventually(partial(is_beyond, bulk, 0.2))
        web.process.kill()
        web.process.wait()
    assert bulk.refresh().state == "running"
    with served(server_url, namespace, folder=tmp_path, **lease) as web:
        eventually(lambda: bulk.refresh().is_over)
        page = httpx.get(f"{web.url}/bulk/{bulk.id}").text
    assert (bulk.refresh().done, bulk.refresh().skipped) == (1500, {})
    assert "1,500" in page
    assert client.executions.count("status:pending") == 0


def test_what_is_ticked_leads_to_a_look_first_and_then_to_the_page_of_the_bulk(
    server_url: str, namespace: str, client: Client, tmp_path: Path
) -> None:
    done, *others = waiting(client, 4)
    done.terminate()
    with served(server_url, namespace, folder=tmp_path) as web, httpx.Client(base_url=web.url) as browser:
        sent: dict[str, Any] = {"action": "terminate", "id": [done.id, *(one.id for one in others)], "reason": "no use"}
        look = browser.post("/bulk", data=sent)
        assert "Terminate 3 executions?" in look.text
        assert "ended already" in look.text
        assert client.bulk.list() == []
        started = browser.post("/bulk", data=sent | {"confirmed": "1", "limit": "2"})
        bulk = client.bulk.get(started.headers["location"].partition("?")[0].removeprefix("/bulk/"))
        assert bulk.wait(20).done == 2
        assert "Terminate 2 executions" in browser.get(f"/bulk/{bulk.id}").text
        assert bulk.order.reason == "no use"
        for wrong in ({"id": []}, {"limit": "0"}, {"limit": "many"}, {"action": "tag", "confirmed": "1"}):
            assert browser.post("/bulk", data=sent | wrong).status_code == 422
        every = browser.post("/bulk", data={"action": "tag", "every": "1", "q": "status:pending"})
        assert "Tag 1 execution?" in every.text
    (look_at, start, *_) = reversed(client.audit.list())
    assert (look_at.action, look_at.detail) == ("start_bulk", "terminate 4 ids: a look")
    assert start.detail == f"terminate 4 ids, bulk {bulk.id}"
