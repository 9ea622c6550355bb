"""What the pages do besides the journeys: what is live, what is offered, what is refused, pages and themes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Floor
from tests.conftest import Eventually

Open = Callable[..., Page]

WITHOUT_SCRIPT = pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])


@WITHOUT_SCRIPT
def test_a_chart_is_read_as_a_table_and_a_bar_leads_to_its_execution(
    floor: Floor, open_page: Open, script: bool
) -> None:
    page = open_page("/", java_script_enabled=script)
    chart = page.locator("figure.chart").first
    assert not chart.locator("table").is_visible()
    chart.get_by_text("Show as table").click()
    cells = [int(text.replace(",", "")) for text in chart.locator("tbody td").all_inner_texts()]
    drawn = [text for text in chart.locator("svg g title").all_text_contents() if not text.endswith("none")]
    assert sum(cells) == sum(int(part.split()[0]) for text in drawn for part in text.split(": ")[1].split(", ")) > 0
    page.goto("/executions?q=status:failed")
    first = page.locator("table.rows tbody .open").first.get_attribute("href")
    page.locator(".runs-chart a").first.click()
    page.wait_for_url(f"**{(first or '').split('?')[0]}*")
    page.go_back()
    page.locator("details.strip > summary").click()
    assert not page.locator(".runs-chart").is_visible()
    assert page.locator("details.strip > summary").get_by_text("succeeded").is_visible()


def test_the_search_box_offers_what_may_come_next(floor: Floor, open_page: Open) -> None:
    page = open_page("/executions")
    expect(page.get_by_role("button", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("status:failed AND function:orders.c")
    offered = page.locator("#search-words option")
    expect(offered).to_have_count(1)
    expect(offered).to_have_attribute("value", "status:failed AND function:orders.charge")


@pytest.mark.feature("C03", "C08", "C18", "C31")
def test_the_keyboard_alone_leads_from_the_list_to_the_next_failure(floor: Floor, open_page: Open) -> None:
    page = open_page("/executions")
    ready = page.get_by_role("button", name="Keyboard shortcuts")
    expect(ready).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("status:failed AND function:orders.charge")
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(4)
    expect(ready).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator("tr[data-at]")).to_have_count(1)
    second = page.locator("tr[data-at]").get_attribute("data-id")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"/executions/{second}"))
    expect(ready).to_be_visible()
    # next and previous stay within what was searched for
    page.keyboard.press("j")
    expect(page).not_to_have_url(re.compile(str(second)))
    expect(page.get_by_role("heading", level=1)).to_contain_text("charge")
    expect(ready).to_be_visible()
    page.keyboard.press("k")
    expect(page).to_have_url(re.compile(str(second)))
    expect(ready).to_be_visible()
    page.keyboard.press("l")
    expect(page).to_have_url(re.compile("/logs"))


def test_keys_select_rows_act_on_them_and_lead_to_the_last_success(floor: Floor, open_page: Open) -> None:
    page = open_page("/executions?q=status:failed")
    ready = page.get_by_role("button", name="Keyboard shortcuts")
    expect(ready).to_be_visible()
    for key in "jxjx":
        page.keyboard.press(key)
    expect(page.locator("[data-selected]")).to_have_text("2 selected")
    expect(page.locator("tr[data-at] .open")).to_be_focused()
    page.keyboard.press("a")
    expect(page.get_by_role("button", name="Rerun…")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Rerun 2 executions?")
    page.goto(f"/executions/{floor.ids['failed']}")
    expect(ready).to_be_visible()
    page.keyboard.press("c")
    expect(page.locator(".headline")).to_contain_text("Completed")
    # Among the failures the groups are gone through
    page.goto("/failures")
    expect(ready).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Error")).to_be_visible()


@pytest.mark.feature("C83")
def test_a_row_is_patched_where_it_stands_and_what_is_new_is_counted(
    floor: Floor, open_page: Open, eventually: Eventually
) -> None:
    go_on = floor.folder / "patched"
    execution = floor.client.submit("reports.build", str(go_on), name="patched").wait(until="started", timeout=20)
    page = open_page("/executions")
    row = page.locator(f"[id='x-{execution.id}']")
    expect(row).to_contain_text("Running")
    expect(page.locator("[data-live][data-state=on]")).to_be_visible()
    first = page.locator("tbody tr").first.get_attribute("id")
    row.get_by_role("checkbox").check()
    # If it ends, and others come
    go_on.touch()
    floor.run("orders.charge", 1, amount=1.0)
    expect(row).to_contain_text("Completed")
    # I expect nothing to have moved, the tick to be where it was, and the other to be counted
    assert page.locator("tbody tr").first.get_attribute("id") == first
    expect(row.get_by_role("checkbox")).to_be_checked()
    pill = page.locator("[data-news] a")
    expect(pill).to_have_text("1 new")
    pill.click()
    expect(page.locator("tbody tr").first).to_contain_text("charge")


def test_paused_means_that_nothing_is_fetched(floor: Floor, open_page: Open) -> None:
    page = open_page("/executions")
    live = page.locator("[data-live]")
    expect(live).to_have_attribute("data-state", "on")
    page.keyboard.press("p")
    expect(live).to_have_text("Paused")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    floor.run("orders.charge", 2, amount=1.0)
    page.wait_for_timeout(1500)
    assert asked == []
    page.reload()
    expect(live).to_have_text("Paused")


@pytest.mark.feature("C20")
@WITHOUT_SCRIPT
def test_a_group_of_failures_is_rerun_after_a_look(floor: Floor, open_page: Open, script: bool) -> None:
    made = [floor.run("orders.reserve", "lamp", pipeline=f"group-{script}") for _ in range(3)]
    page = open_page(f"/executions?q=pipeline:group-{script}", java_script_enabled=script)
    for one in made[:2]:
        page.locator(f"[id='x-{one.id}']").get_by_role("checkbox").check()
    page.get_by_role("button", name="Rerun…").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Rerun 2 executions?")
    assert all(one.refresh().attempts == 1 for one in made), "a look does nothing"
    page.get_by_role("button", name="Rerun 2").click()
    expect(page.locator(".bulk-state")).to_contain_text("Done", timeout=15_000)
    expect(page.get_by_role("heading", level=1)).to_have_text("Rerun 2 executions")
    assert [one.refresh().wait(timeout=20).attempts for one in made] == [2, 2, 1]
    # ... and all that match
    page.get_by_role("link", name="Back to where it was started").click()
    page.locator("tbody .pick input").first.check()
    page.get_by_label("all 3 that match").check()
    page.get_by_role("button", name="Rerun…").click()
    page.get_by_role("button", name="Rerun 3").click()
    expect(page.locator(".bulk-state")).to_contain_text("Done", timeout=15_000)
    page.get_by_role("link", name="show them").click()
    expect(page.locator("tbody tr")).to_have_count(3)
    page.goto("/bulk")
    expect(page.get_by_role("row").filter(has_text=f"pipeline:group-{script}")).to_have_count(1)


@WITHOUT_SCRIPT
def test_a_bulk_is_followed_while_it_goes_on(floor: Floor, open_page: Open, script: bool) -> None:
    bulks = floor.client.bulk._bulks
    for _ in range(5):
        floor.client.map("media.stitch", ["a", "b", "c"], queue="nowhere", tags=[f"bulk-{script}"])
        bulk = floor.client.bulk("terminate", f"tag:bulk-{script} AND status:pending", reason="nobody is there")
        if bulks.claim(bulk.id, "somebody"):
            break  # before upkeep was there
    page = open_page(f"/bulk/{bulk.id}", java_script_enabled=script)
    expect(page.locator(".bulk-state")).to_contain_text("Running")
    bulks.let_go(bulk.id, "somebody")
    expect(page.locator(".bulk-state")).to_contain_text("Done", timeout=20_000)
    expect(page.get_by_role("button", name="Go no further")).to_have_count(0)


@pytest.mark.feature("F26")
@WITHOUT_SCRIPT
def test_an_output_is_downloaded_as_a_file(floor: Floor, open_page: Open, script: bool) -> None:
    page = open_page(f"/executions/{floor.ids['trained']}", java_script_enabled=script)
    with page.expect_download() as begun:
        page.get_by_role("link", name="Download").last.click()
    assert begun.value.suggested_filename == f"{floor.ids['trained']}-output.json"
    assert json.loads(Path(begun.value.path()).read_text()) == {"loss": 0.0541, "epochs": 20}


@WITHOUT_SCRIPT
def test_a_service_is_paused_its_policy_changed_and_resumed(floor: Floor, open_page: Open, script: bool) -> None:
    page = open_page("/services", java_script_enabled=script)
    page.get_by_role("link", name="importer").first.click()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("status")).to_contain_text("Paused")
    assert floor.client.services.get("importer").paused
    page.get_by_role("textbox", name="Time limit").fill("soon")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("execution_timeout must be a whole number")
    page.get_by_role("textbox", name="Time limit").fill("900")
    page.get_by_label("Runs at once").fill("")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Saved")
    service = floor.client.services.get("importer")
    assert (service.execution_timeout, service.concurrency) == (900, None)
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("status")).to_contain_text("Resumed")


def test_two_who_edit_one_service_do_not_undo_each_other(floor: Floor, open_page: Open) -> None:
    page = open_page("/services/importer")
    service = floor.client.services.get("importer")
    service.drain_time = 77
    service.update()
    page.get_by_label("Attempts").fill("5")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("has changed this service since you opened it")
    assert floor.client.services.get("importer").max_attempts is None
    # What was typed is still there, what was not touched is as the other one left it, and saving again does both
    expect(page.get_by_label("Attempts")).to_have_value("5")
    expect(page.locator("label", has_text="Attempts")).to_contain_text("in force: as the function says")
    expect(page.get_by_role("textbox", name="Drain time")).to_have_value("77")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Saved")
    service = floor.client.services.get("importer")
    assert (service.max_attempts, service.drain_time) == (5, 77)


@pytest.mark.feature("C19", "C21")
@WITHOUT_SCRIPT
def test_pages_go_forth_and_back_and_a_link_shows_the_same(floor: Floor, open_page: Open, script: bool) -> None:
    page = open_page("/executions?limit=25&sort=created", java_script_enabled=script)

    def ids() -> list[str]:
        return [str(one.get_attribute("id")) for one in page.locator("tbody tr").all()]

    first = ids()
    page.get_by_role("link", name="Next").click()
    page.wait_for_url(re.compile("cursor="))
    second = ids()
    assert not set(first) & set(second)
    shared = open_page(page.url, java_script_enabled=script)
    assert [str(one.get_attribute("id")) for one in shared.locator("tbody tr").all()][:10] == second[:10]
    page.get_by_role("link", name="Previous").click()
    page.wait_for_url(lambda url: "cursor=" not in url)
    assert ids() == first
    page.get_by_role("link", name="Took").click()
    expect(page.locator("[aria-sort=descending]")).to_contain_text("Took")


@pytest.mark.feature("C36", "C86")
def test_what_waits_says_why(floor: Floor, open_page: Open) -> None:
    page = open_page(f"/executions/{floor.ids['waiting']}")
    expect(page.get_by_role("region", name="Why it waits")).to_contain_text("Service archive is paused")
    page.goto(f"/executions/{floor.ids['unserved']}")
    expect(page.get_by_role("region", name="Why it waits")).to_contain_text("consumes queue nowhere")


def test_a_function_is_launched_with_its_inputs(floor: Floor, open_page: Open) -> None:
    page = open_page("/executions/new")
    page.get_by_role("link", name="orders.charge").click()
    page.get_by_label("order").fill("77")
    page.get_by_label("amount").fill("oops [")
    page.get_by_label("currency").fill("578")
    page.get_by_role("button", name="Launch").click()
    # What its annotation rules out is refused, and nothing that was typed is lost
    expect(page.get_by_role("alert")).to_have_text("orders.charge takes 'amount' as float, not as str")
    page.get_by_label("amount").fill("9")
    page.get_by_role("button", name="Launch").click()
    expect(page.get_by_role("status")).to_contain_text("Launched")
    made = floor.client.executions.get(page.url.rsplit("/", 1)[1].split("?")[0])
    assert made.inputs["kwargs"] == {"order": 77, "amount": 9, "currency": "578"}


def test_a_worker_is_drained_and_taken_back(floor: Floor, open_page: Open, eventually: Eventually) -> None:
    page = open_page("/workers")
    row = page.get_by_role("row").filter(has_text="forge@floor")
    row.get_by_role("button", name="Drain").click()
    expect(page.get_by_role("status")).to_contain_text("Draining")
    eventually(lambda: floor.client.workers.get("forge@floor").facts.get("draining"))
    page.reload()
    row.get_by_role("button", name="Resume").click()
    eventually(lambda: not floor.client.workers.get("forge@floor").facts.get("draining"))


@WITHOUT_SCRIPT
def test_the_theme_that_was_chosen_is_there_from_the_first_byte(floor: Floor, open_page: Open, script: bool) -> None:
    page = open_page("/workers", color_scheme="light", java_script_enabled=script)
    button = page.get_by_role("button", name="Switch between light and dark")
    with page.expect_response(lambda answer: answer.url.endswith("/theme")):
        button.click()
    answer = page.goto("/queues")
    assert answer is not None
    assert 'data-theme="dark"' in answer.text()
    with page.expect_response(lambda answer: answer.url.endswith("/theme")):
        button.click()
    answer = page.goto("/queues")
    assert answer is not None
    assert 'data-theme="light"' in answer.text()


def test_markup_in_data_is_text(floor: Floor, open_page: Open) -> None:
    evil = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    execution = floor.client.submit("orders.reserve", evil, tags=[evil], name=evil, queue="celery").wait(timeout=20)
    page = open_page(f"/executions/{execution.id}")
    expect(page.get_by_role("heading", level=1)).to_contain_text("<script>")
    for path in ("/executions", f"/executions/{execution.id}/raw", f'/executions?q=name:"{evil}'):
        page.goto(path)
    assert page.locator("img, script:not([type=module])").count() == 0
