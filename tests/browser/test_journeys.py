"""The ten journeys of a person on call, each by mouse, by keyboard alone, and in a browser that runs no script."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Floor
from tests.browser.hands import WAYS, hands
from tests.conftest import Eventually

Open = Callable[..., Page]

EVERY_WAY = pytest.mark.parametrize("way", WAYS)


@pytest.mark.feature("C06", "C18", "C29")
@EVERY_WAY
def test_1_the_failed_run_is_found(floor: Floor, open_page: Open, way: str) -> None:
    person = hands(way, open_page, "/")
    page = person.page
    person.press(page.get_by_role("link", name=re.compile("^Failed")))
    expect(page).to_have_url(re.compile("status%3Afailed"))
    person.press(page.get_by_role("complementary", name="Filters").get_by_role("link", name=re.compile("charge")))
    expect(page).to_have_url(re.compile("function%3Aorders.charge"))
    expect(page.locator("tbody tr").filter(has_not_text="Failed")).to_have_count(0)
    person.press(page.get_by_role("link", name="charge orders").first)
    error = page.get_by_role("region", name="Error")
    expect(error).to_contain_text("ValueError")
    expect(error).to_contain_text("amount -5.0 is negative")
    expect(error).to_contain_text("in charge")


@pytest.mark.feature("C34", "C85")
@EVERY_WAY
def test_2_its_log_is_read(floor: Floor, open_page: Open, way: str) -> None:
    person = hands(way, open_page, f"/executions/{floor.ids['failed']}?in=status:failed")
    page = person.page
    person.press(page.get_by_role("region", name="Error").get_by_role("link", name="Its log"))
    expect(page.locator(".l-error")).to_contain_text("refused: the amount is negative")
    person.press(page.get_by_role("link", name="First error"))
    expect(page.locator(".l:target")).to_contain_text("refused")


@pytest.mark.feature("C29")
@EVERY_WAY
def test_3_it_is_compared_with_the_last_good_one(floor: Floor, open_page: Open, way: str) -> None:
    good = floor.run("orders.charge", order=9001, amount=12.5)
    bad = floor.client.submit("orders.charge", 9002, amount=-7.25)
    bad.wait(timeout=20)
    person = hands(way, open_page, f"/executions/{bad.id}")
    page = person.page
    # What differs is on the page, named alike although one was given by position
    against = page.get_by_role("region", name="Against the last success")
    expect(against.get_by_role("row", name="order")).to_contain_text(re.compile("9001.*9002"))
    expect(against.get_by_role("row", name="amount")).to_contain_text(re.compile(r"12\.5.*-7\.25"))
    expect(against).not_to_contain_text("Queue")
    # ... and the other one a step away, and back
    person.press(against.get_by_role("link"))
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"no. {good.number}")
    expect(page.locator(".headline")).to_contain_text("Completed")
    person.press(page.get_by_role("link", name="Newer"))
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"no. {bad.number}")


@pytest.mark.feature("C34")
@EVERY_WAY
def test_4_it_is_rerun_and_keeps_its_id(floor: Floor, open_page: Open, way: str) -> None:
    execution = floor.run("orders.reserve", "lamp")
    person = hands(way, open_page, f"/executions/{execution.id}")
    page = person.page
    person.press(page.get_by_role("button", name="Rerun"))
    expect(page.get_by_role("status")).to_contain_text("Rerun: queued once more.")
    assert execution.refresh().wait(timeout=20).attempts == 2
    page.reload()
    expect(page.locator(".attempts tbody tr")).to_have_count(2)


@EVERY_WAY
def test_5_it_is_launched_again_with_other_inputs(floor: Floor, open_page: Open, way: str) -> None:
    person = hands(way, open_page, f"/executions/{floor.ids['failed']}")
    page = person.page
    person.press(page.get_by_role("link", name="Relaunch…"))
    person.fill(page.get_by_label("amount"), "12.5")
    person.press(page.get_by_role("button", name="Relaunch"))
    expect(page).not_to_have_url(re.compile(floor.ids["failed"]))
    expect(page.get_by_role("status")).to_contain_text("Relaunched")
    made = floor.client.executions.get(page.url.rsplit("/", 1)[1].split("?")[0]).wait(timeout=20)
    assert made.reference == floor.ids["failed"]
    assert made.result()["charged"] == 12.5
    assert made.result()["order"] == 8003, "what was not changed stays as it was"


@pytest.mark.feature("C36")
@EVERY_WAY
def test_6_a_runaway_is_stopped_with_a_cause(floor: Floor, open_page: Open, way: str) -> None:
    name = f"runaway by {way}"
    execution = floor.client.submit("reports.build", f"{floor.until}-never", name=name)
    execution.wait(until="started", timeout=20)
    person = hands(way, open_page, "/")
    page = person.page
    person.press(page.get_by_role("link", name=name))
    person.press(page.get_by_text("Terminate…"))
    person.fill(page.get_by_label("Why"), "it reads the wrong table")
    person.press(page.get_by_role("button", name="Stop it"))
    expect(page.get_by_role("status")).to_contain_text("Asked")
    assert execution.wait(timeout=20).status == "terminated"
    page.reload()
    expect(page.get_by_role("region", name="Stop request")).to_contain_text("it reads the wrong table")


@pytest.mark.feature("C85")
@EVERY_WAY
def test_7_a_log_is_followed_while_it_grows(floor: Floor, open_page: Open, eventually: Eventually, way: str) -> None:
    go_on = floor.folder / f"follow-{way}"
    execution = floor.client.submit("reports.build", str(go_on)).wait(until="started", timeout=20)
    person = hands(way, open_page, f"/executions/{execution.id}")
    page = person.page
    person.press(page.get_by_role("link", name="Logs"))
    expect(page.locator(".l").first).to_be_visible()
    seen = page.locator(".l").count()
    if not person.has_script:
        eventually(lambda: execution.refresh() and floor.client.executions.last_line(execution.id, 1) > seen + 2)
        person.press(page.get_by_role("link", name="What came since"))
    expect(page.locator(".l").nth(seen + 2)).to_be_attached(timeout=20_000)
    numbers = page.locator(".n").evaluate_all("all => all.map(one => Number(one.dataset.n))")
    assert numbers == list(range(1, len(numbers) + 1)), "no line twice, none left out"
    go_on.touch()
    execution.wait(timeout=20)


@pytest.mark.feature("C20")
@EVERY_WAY
def test_8_a_group_of_failures_is_rerun_after_a_look(floor: Floor, open_page: Open, way: str) -> None:
    before = {one.id: one.attempt for one in floor.client.executions.iterate("function:orders.reserve status:failed")}
    person = hands(way, open_page, "/failures")
    page = person.page
    many = len(before)
    person.press(page.locator(".group", has_text="OutOfStock").get_by_role("button"))
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Rerun {many} executions?")
    assert all(floor.client.executions.get(one).attempt == tries for one, tries in before.items()), (
        "a look does nothing"
    )
    person.press(page.get_by_role("button", name=f"Rerun {many}"))
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Rerun {many} executions")
    expect(page.locator(".bulk-state")).to_contain_text("Done")
    for one, tries in before.items():
        assert floor.client.executions.get(one).wait(timeout=20).attempts == tries + 1


@EVERY_WAY
def test_9_a_service_is_paused_and_the_overview_says_so(floor: Floor, open_page: Open, way: str) -> None:
    person = hands(way, open_page, "/services")
    page = person.page
    person.press(page.get_by_role("link", name="importer").first)
    person.press(page.get_by_role("button", name="Pause"))
    expect(page.get_by_role("status")).to_contain_text("Paused")
    assert floor.client.services.get("importer").paused
    person.press(page.get_by_role("link", name="Overview", exact=True))
    row = page.get_by_role("listitem").filter(has_text="Service importer is paused")
    person.press(row.get_by_role("link", name="Open"))
    person.press(page.get_by_role("button", name="Resume"))
    expect(page.get_by_role("status")).to_contain_text("Resumed")
    assert not floor.client.services.get("importer").paused


@pytest.mark.feature("C21")
@EVERY_WAY
def test_10_a_link_shows_another_person_the_same(floor: Floor, open_page: Open, way: str) -> None:
    person = hands(way, open_page, "/executions?limit=25")
    page = person.page
    # A list
    person.press(page.get_by_role("link", name=re.compile("^Completed")))
    person.press(page.get_by_role("link", name="Took"))
    expect(page.locator("[aria-sort=descending]")).to_contain_text("Took")
    other = open_page(page.url, java_script_enabled=person.has_script)
    assert _ids(other)[:10] == _ids(page)[:10]
    # A line of a log, which is still that line when another attempt has a log of its own
    execution = floor.run("orders.charge", 9100, amount=-1.5)
    page.goto(f"/executions/{execution.id}/logs")
    line = page.locator(".l-error").first
    person.press(line.locator(".n"))
    expect(line).to_have_id(page.url.partition("#")[2])
    if person.has_script:
        execution.rerun().wait(timeout=20)
    other.goto(page.url)
    expect(other.locator(".l:target")).to_contain_text("refused")
    expect(other.locator(".l:target")).to_be_in_viewport()
    expect(other.get_by_role("log")).to_have_accessible_name("Log of attempt 1")


def _ids(page: Page) -> list[str]:
    return [str(one.get_attribute("id")) for one in page.locator("tbody tr").all()]


def test_a_line_is_found_by_its_address_when_the_page_begins_behind_it(floor: Floor, open_page: Open) -> None:
    execution = floor.run("reports.chatter", 2600)
    page = open_page(f"/executions/{execution.id}/logs")
    assert page.locator("#L12").count() == 0
    page.goto(f"/executions/{execution.id}/logs#L12")
    page.reload()
    expect(page.locator("#L12:target")).to_be_in_viewport()


def test_what_was_done_is_said_once(floor: Floor, open_page: Open) -> None:
    execution = floor.run("orders.reserve", "lamp")
    page = open_page(f"/executions/{execution.id}")
    page.get_by_role("button", name="Rerun").click()
    expect(page.get_by_role("status")).to_contain_text("Rerun")
    expect(page).not_to_have_url(re.compile("done="))
    page.reload()
    expect(page.get_by_role("status")).to_have_count(0)
