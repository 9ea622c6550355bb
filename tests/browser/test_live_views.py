"""What is live stays so: in twelve tabs, through kills of the server, and with two people at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Floor, OpenPage, Watched
from tests.conftest import Eventually
from tests.web import Web, served
from workers.local.server import free_port

Open = Callable[..., Page]


class Mortal:
    """A server that is killed and comes back at the same address."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._port = str(free_port())
        self._stack = ExitStack()
        self.url = f"http://127.0.0.1:{self._port}"
        self.web: Web | None = None
        self.start()

    def start(self) -> None:
        """Start it, once more."""
        options = ("--port", self._port)
        web = served(self._floor.registry, "ex", *options, folder=self._floor.folder / "payloads")
        self.web = self._stack.enter_context(web)

    def kill(self) -> None:
        """Take it away in the middle of whatever it does."""
        assert self.web is not None
        self.web.process.kill()
        self.web.process.wait()

    def close(self) -> None:
        """End it."""
        self._stack.close()


@pytest.fixture
def mortal(floor: Floor) -> Iterator[Mortal]:
    made = Mortal(floor)
    yield made
    made.close()


@pytest.fixture
def open_mortal(chromium: Browser, mortal: Mortal) -> Iterator[Open]:
    opener = OpenPage(chromium, mortal.url)
    yield opener
    opener.close()
    assert opener.watched == Watched()


def tabs_of(first: Page, count: int) -> list[Page]:
    """Open the same page in further tabs of one browser."""
    tabs = [first, *(first.context.new_page() for _ in range(count - 1))]
    for tab in tabs[1:]:
        tab.goto(first.url, timeout=15_000)
    return tabs


def streams(page: Page) -> int:
    """Give how many streams the server has open."""
    told = page.request.get("/metrics").text()
    found = re.search(r"^executions_streams (\d+)$", told, re.MULTILINE)
    assert found
    return int(found[1])


def test_twelve_tabs_of_one_browser_stay_live_over_one_connection_and_through_a_kill(
    floor: Floor, mortal: Mortal, open_mortal: Open, eventually: Eventually
) -> None:
    tabs = tabs_of(open_mortal("/executions"), 12)
    for tab in tabs:
        expect(tab.locator("[data-live][data-state=on]")).to_be_visible()
    assert streams(tabs[0]) == 1
    floor.run("orders.charge", 3, amount=1.0)
    for tab in tabs:
        expect(tab.locator("[data-news] a")).to_have_text("1 new", timeout=20_000)
    # If the server is killed, and something happens before it is back
    mortal.kill()
    for tab in tabs:
        expect(tab.locator("[data-live]")).to_have_text("Offline")
    floor.run("orders.charge", 4, amount=1.0)
    mortal.start()
    # I expect every tab to be told, still over one connection, also when the one that came first is gone
    for tab in tabs:
        expect(tab.locator("[data-news] a")).to_have_text("2 new", timeout=20_000)
    assert streams(tabs[0]) == 1
    tabs.pop(0).close()
    floor.run("orders.charge", 5, amount=1.0)
    for tab in tabs:
        expect(tab.locator("[data-news] a")).to_have_text("3 new", timeout=20_000)
    for tab in tabs:
        tab.close()


def test_no_line_and_no_state_is_missing_from_a_page_whose_server_is_killed_again_and_again(
    floor: Floor, mortal: Mortal, open_mortal: Open
) -> None:
    go_on = floor.folder / "through kills"
    execution = floor.client.submit("reports.build", str(go_on)).wait(until="started", timeout=20)
    log = open_mortal(f"/executions/{execution.id}/logs")
    detail = log.context.new_page()
    detail.goto(f"{mortal.url}/executions/{execution.id}")
    for _ in range(3):
        expect(log.locator("[data-live][data-state=on]")).to_be_visible(timeout=20_000)
        seen = log.locator(".l").count()
        expect(log.locator(".l").nth(seen)).to_be_attached(timeout=20_000)
        mortal.kill()
        expect(log.locator("[data-live]")).to_have_text("Offline")
        mortal.start()
    go_on.touch()
    execution.wait(timeout=20)
    last = floor.client.executions.last_line(execution.id, 1)
    expect(log.locator(f"#L{last}")).to_be_attached(timeout=20_000)
    numbers = log.locator(".n").evaluate_all("all => all.map(one => Number(one.dataset.n))")
    assert numbers == list(range(1, last + 1)), "no line twice, none left out"
    expect(detail.locator(".headline")).to_contain_text("Completed", timeout=20_000)
    assert detail.locator(".story b").all_text_contents() == ["Pending", "Running", "Completed"]


def test_two_who_rerun_the_same_at_once_make_one_attempt_and_the_other_is_told(floor: Floor, open_page: Open) -> None:
    execution = floor.run("orders.reserve", "lamp")
    # Ben's page does not renew itself, and so goes on showing what failed first
    ann, ben = (open_page(f"/executions/{execution.id}", java_script_enabled=is_live) for is_live in (True, False))
    ann.get_by_role("button", name="Rerun").click()
    expect(ann.get_by_role("status")).to_contain_text("Rerun: queued once more.")
    execution.refresh().wait(timeout=20)
    ben.get_by_role("button", name="Rerun").click()
    expect(ben.get_by_role("alert")).to_contain_text("Somebody has rerun it since you opened this page")
    assert execution.refresh().attempts == 2


def test_two_who_stop_and_pause_at_once_both_learn_how_it_is(floor: Floor, open_page: Open) -> None:
    execution = floor.client.submit("reports.build", f"{floor.until}-never").wait(until="started", timeout=20)
    pages = [open_page(f"/executions/{execution.id}", java_script_enabled=False) for _ in range(2)]
    for page in pages:
        page.get_by_text("Terminate…").click()
    pages[0].get_by_role("button", name="Stop it").click()
    expect(pages[0].get_by_role("status")).to_contain_text("Asked")
    assert execution.wait(timeout=20).status == "terminated"
    pages[1].get_by_role("button", name="Stop it").click()
    expect(pages[1].get_by_role("alert")).to_contain_text("It had already ended as terminated")
    services = [open_page("/services/importer", java_script_enabled=False) for _ in range(2)]
    for page in services:
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_role("status")).to_contain_text("Paused")
    for page in services:
        page.get_by_role("button", name="Resume").click()
        expect(page.get_by_role("status")).to_contain_text("Resumed")
    assert not floor.client.services.get("importer").paused


def test_what_is_new_moves_no_row(floor: Floor, open_page: Open) -> None:
    page = open_page("/executions")
    expect(page.locator("[data-live][data-state=on]")).to_be_visible()
    # In one step: a row that lives is exchanged by another one in the same place
    where = "JSON.stringify(document.querySelector('table.rows tbody tr').getBoundingClientRect())"
    before = page.evaluate(where)
    floor.run("orders.charge", 6, amount=1.0)
    expect(page.locator("[data-news] a")).to_be_visible()
    assert page.evaluate(where) == before
