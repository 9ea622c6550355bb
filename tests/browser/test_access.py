"""Everybody can use every page: what WCAG 2.2 AA asks for, as far as a program can tell, in both themes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Floor
from tests.browser.test_looks import PAGES, PICTURES

Open = Callable[..., Page]

CHECKS, FOCUS, WIDE = ((Path(__file__).parent / f"{name}.js").read_text() for name in ("checks", "focus", "wide"))

THEMES = pytest.mark.parametrize("theme", ["light", "dark"])

#: What a screen reader has to be able to name.
NAMED = frozenset(
    """button checkbox combobox DisclosureTriangle image img link log navigation complementary progressbar radio
    searchbox spinbutton switch tab textbox dialog meter""".split()  # noqa: SIM905
)

#: What can be reached with Tab; of several radio buttons the one that is chosen.
REACHED = (
    "a[href], button, input:not([type=hidden], [type=radio]:not(:checked)), select, textarea, summary, [tabindex='0']"
)

#: More than any page has.
STOPS = 700

#: The spacing of text that somebody may set for themselves (WCAG 1.4.12).
SPACED = "* { line-height: 1.5 !important; letter-spacing: .12em !important; word-spacing: .16em !important }"


def visits(page: Page, floor: Floor) -> Iterator[str]:
    """Go to every page there is, one after the other."""
    for name, path in PAGES.items():
        page.goto(path.format(**floor.ids))
        page.wait_for_load_state("load")
        yield name


def nameless(page: Page) -> list[str]:
    """Give the controls that the browser has no name for."""
    session = page.context.new_cdp_session(page)
    nodes: list[dict[str, Any]] = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    return [
        f"nobody can name a {node['role']['value']}"
        for node in nodes
        if not node["ignored"]
        and node.get("role", {}).get("value") in NAMED
        and not node.get("name", {}).get("value", "").strip()
    ]


def wrong(page: Page) -> list[str]:
    """Give all that is wrong with a page as it is."""
    found: list[str] = page.evaluate(CHECKS)
    return found + nameless(page)


def agree(found: dict[str, list[str]]) -> None:
    """Fail with all that was found."""
    told = [f"{name}: {one}" for name, problems in found.items() for one in dict.fromkeys(problems)]
    if told:
        pytest.fail("\n".join(told), pytrace=False)


@THEMES
def test_every_page_can_be_read_named_and_hit(floor: Floor, open_page: Open, theme: str) -> None:
    page = open_page("/workers", color_scheme=theme)
    agree({name: wrong(page) for name in visits(page, floor)})


@THEMES
def test_so_can_what_a_page_becomes_in_use(floor: Floor, open_page: Open, theme: str) -> None:
    page = open_page("/executions", color_scheme=theme)

    def look(name: str) -> None:
        page.screenshot(path=PICTURES / f"used-{name}-{theme}.png")
        agree({name: wrong(page)})

    expect(page.locator("[data-live][data-state=on]")).to_be_visible()
    floor.run("orders.charge", 7, amount=1.0)
    expect(page.locator("[data-news] a")).to_be_visible()
    page.locator("tbody .pick input").first.check()
    page.locator("tbody tr").nth(2).hover()
    page.keyboard.press("j")
    look("selected")
    page.get_by_role("button", name="Rerun…").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Rerun")
    look("confirm")
    page.goto(f"/executions/{floor.ids['running']}")
    page.get_by_text("Terminate…").click()
    look("menu")
    page.keyboard.press("Escape")
    expect(page.get_by_text("Terminate…")).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    look("keys")


@THEMES
def test_tab_leads_to_everything_and_out_again_and_what_has_the_focus_is_seen(
    floor: Floor, open_page: Open, theme: str
) -> None:
    page = open_page("/workers", color_scheme=theme)
    page.keyboard.press("p")  # what is met is not to be exchanged meanwhile
    found: dict[str, list[str]] = {}
    for name in visits(page, floor):
        page.evaluate("document.activeElement.blur()")
        problems: list[str] = []
        outside = 0
        for _ in range(STOPS):
            page.keyboard.press("Tab")
            stop = page.evaluate(FOCUS)
            outside = outside + 1 if stop is None else 0
            if outside > 1:
                break  # there is nothing to reach
            if stop is None:
                continue  # out of the page; from here it begins anew
            if not stop["isNew"]:
                assert stop["at"] == 0, f"{name}: Tab goes round in a circle"
                break
            problems += stop["wrong"]
        else:
            problems.append("Tab comes to no end")
        left = page.evaluate(
            "(what) => [...document.querySelectorAll(what)].filter((one) => one.checkVisibility() && !one.disabled"
            " && one.tabIndex >= 0 && !window.__met?.has(one)).map((one) => one.outerHTML.slice(0, 120))", REACHED,
        )  # fmt: skip
        if problems or left:
            found[name] = problems + [f"out of reach: {one}" for one in left]
    agree(found)


@pytest.mark.parametrize("width", [320, 640], ids=["320-px", "zoom-200"])
def test_nothing_is_wider_than_a_narrow_window_however_wide_its_letters(
    floor: Floor, open_page: Open, width: int
) -> None:
    page = open_page("/workers", viewport={"width": width, "height": 500})
    found: dict[str, list[str]] = {}
    for name in visits(page, floor):
        for how in ("", SPACED):
            if how:
                page.evaluate("(rule) => document.styleSheets[0].insertRule(rule)", how)
            over = page.evaluate(WIDE)
            if over:
                found.setdefault(name, []).append(f"{over}{' with more space' if how else ''}")
        problems = page.evaluate(CHECKS) if width == 320 else []
        if problems:
            found.setdefault(name, []).extend(problems)
    agree(found)


def test_nothing_moves_for_who_wants_no_motion_nor_while_the_page_is_paused(floor: Floor, open_page: Open) -> None:
    moving = "document.getAnimations().filter((one) => one.playState === 'running').length"
    page = open_page("/executions?q=status:running", reduced_motion="no-preference")
    assert page.evaluate(moving) > 0
    page.keyboard.press("p")
    expect(page.get_by_role("button", name="Paused")).to_be_visible()
    assert page.evaluate(moving) == 0
    calm = open_page("/executions?q=status:running", reduced_motion="reduce")
    assert calm.evaluate(moving) == 0


def test_each_status_has_a_shape_of_its_own(floor: Floor, open_page: Open) -> None:
    page = open_page("/")
    shapes = page.locator(".tabs.tall svg.shape").evaluate_all("all => all.map((one) => one.innerHTML)")
    assert len(shapes) == len(set(shapes)) == 6


def test_single_letters_lead_to_the_pages_and_can_be_switched_off(floor: Floor, open_page: Open) -> None:
    page = open_page("/workers")
    ready = page.get_by_role("button", name="Keyboard shortcuts")
    places = page.locator("[data-key]").evaluate_all("all => all.map((one) => [one.dataset.key, one.pathname])")
    assert len(places) == len(dict(places)) >= 7
    for key, path in places:
        expect(ready).to_be_visible()
        page.keyboard.press(key)
        page.wait_for_url(lambda url, path=path: url.partition("?")[0].endswith(path))
        # A form that asks for something has the focus; letters are text there.
        page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    sheet = page.get_by_role("dialog")
    for key, _ in places:
        assert sheet.locator("kbd", has_text=key).count() > 0, f"{key} is not on the sheet"
    sheet.get_by_label("Single keys act").uncheck()
    page.keyboard.press("Escape")
    here = page.url
    for key, _ in places:
        page.keyboard.press(key)
    page.reload()
    expect(ready).to_be_visible()
    page.keyboard.press("e")
    assert page.url == here


def test_the_keyboard_keeps_its_place_while_the_page_renews_itself(floor: Floor, open_page: Open) -> None:
    go_on = floor.folder / "held"
    execution = floor.client.submit("reports.build", str(go_on)).wait(until="started", timeout=20)
    page = open_page(f"/executions/{execution.id}")
    page.get_by_role("link", name="Relaunch…").focus()
    execution.update(tags=["watched"])
    with page.expect_response(lambda answer: answer.url.endswith(execution.id)):
        page.keyboard.press("r")
    expect(page.get_by_role("link", name="watched")).to_be_visible()
    expect(page.get_by_role("link", name="Relaunch…")).to_be_focused()
    # What stands in the place of a button that is gone must not be pressed by who wanted the other one
    page.get_by_text("Terminate…").focus()
    go_on.touch()
    expect(page.get_by_role("button", name="Rerun")).to_be_visible()
    expect(page.get_by_role("button", name="Rerun")).not_to_be_focused()
    assert page.evaluate("document.activeElement.matches('.headline')")
