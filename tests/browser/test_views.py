"""Views, columns, notes and edits in a browser, with scripts and without."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Floor

Open = Callable[..., Page]

WITHOUT_SCRIPT = pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])


@WITHOUT_SCRIPT
def test_a_list_is_kept_found_again_changed_and_removed(floor: Floor, open_page: Open, script: bool) -> None:
    name = f"Charges {script}"
    page = open_page(
        "/executions?q=function:orders.charge AND status:failed&sort=-duration", java_script_enabled=script
    )
    shown = page.locator("tbody tr").count()
    page.locator(".views summary").click()
    page.get_by_label("Keep this list as").fill(name)
    page.get_by_label("for everybody").check()
    page.get_by_role("button", name="Keep", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("Kept.")
    expect(page).to_have_url(re.compile(r"\?view=v"))
    expect(page.locator("tbody tr")).to_have_count(shown)
    # From anywhere it is two clicks away, with the number of those in it
    floor.client.views.counts(floor.client.views.list())
    page.goto("/executions")
    page.locator(".views summary").click()
    kept = page.locator(".views").get_by_role("link", name=re.compile(f"^{name}"))
    expect(kept).to_contain_text(str(shown))
    kept.click()
    # What is changed by a click is kept by another one
    page.get_by_role("link", name="Took").click()
    expect(page.locator(".views summary")).to_contain_text("changed")
    page.locator(".views summary").click()
    page.get_by_role("button", name=f"Save changes to “{name}”").click()
    expect(page.locator(".views summary")).not_to_contain_text("changed")
    assert floor.client.views.get(name).sort == "duration"
    # Renamed, and removed
    page.locator(".views summary").click()
    page.get_by_role("link", name=f"Edit “{name}”").click()
    page.get_by_label("Name", exact=True).fill(f"{name} again")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".views summary")).to_contain_text(f"{name} again")
    page.locator(".views summary").click()
    page.get_by_role("link", name=f"Edit “{name} again”").click()
    page.get_by_role("button", name="Remove this view").click()
    expect(page.get_by_role("status")).to_contain_text("The view is gone.")


@WITHOUT_SCRIPT
def test_columns_are_chosen_ordered_and_remembered(floor: Floor, open_page: Open, script: bool) -> None:
    page = open_page("/executions?q=name:recommender-nightly", java_script_enabled=script)
    page.locator(".picking summary").click()
    page.get_by_label("A property or metric to add").fill("property.learning_rate")
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_label("A property or metric to add").fill("metric.loss")
    page.get_by_role("button", name="Add", exact=True).click()
    heads = page.locator("thead th")
    expect(heads.last).to_have_text("loss")
    expect(page.locator("tbody tr td").last).to_have_text("0.0541")
    expect(page.locator("tbody tr td").nth(-2)).to_have_text("0.001")
    page.get_by_label("loss further left").click()
    expect(heads.last).to_have_text("learning_rate")
    page.get_by_label("Without Queue").click()
    expect(page.get_by_role("columnheader", name="Queue")).to_have_count(0)
    page.get_by_role("button", name="Remember here").click()
    expect(page.get_by_role("status")).to_contain_text("remembers")
    page.goto("/executions")
    expect(heads.last).to_have_text("learning_rate")
    page.locator(".picking summary").click()
    page.get_by_role("button", name="Forget").click()
    page.goto("/executions")
    expect(heads.last).to_contain_text("Took")


def test_a_row_keeps_its_columns_when_it_is_patched(floor: Floor, open_page: Open) -> None:
    page = open_page("/executions?q=function:media.stitch&columns=queue,property.who")
    expect(page.locator("[data-live]")).to_have_attribute("data-state", "on")
    one = floor.client.submit("media.stitch", "b.mov", queue="nowhere", properties={"who": "ann"})
    page.goto("/executions?q=function:media.stitch&columns=queue,property.who")
    row = page.locator(f"#x-{one.id}")
    expect(row.locator("td").last).to_have_text("ann")
    expect(page.locator("[data-live]")).to_have_attribute("data-state", "on")
    one.terminate()
    expect(row).to_contain_text("Terminated")
    expect(row.locator("td").last).to_have_text("ann")


@pytest.mark.feature("C72")
@WITHOUT_SCRIPT
def test_a_note_is_left_for_the_next_one_who_looks(floor: Floor, open_page: Open, script: bool) -> None:
    one = floor.run("orders.charge", 8100, amount=-1.0)
    page = open_page(f"/executions/{one.id}?in=status:failed", java_script_enabled=script)
    page.get_by_label("A note").fill("The till was closed.\nSee the runbook.")
    page.get_by_role("button", name="Add note").click()
    expect(page.get_by_role("status")).to_contain_text("Noted.")
    expect(page.get_by_role("region", name="Notes")).to_contain_text("The till was closed.")
    expect(page).to_have_url(re.compile("in=status%3Afailed"))
    page.goto(f"/executions?q=has:note AND id:{one.id}")
    page.get_by_role("link", name="1 note").click()
    expect(page.get_by_role("region", name="Notes")).to_contain_text("See the runbook.")


@WITHOUT_SCRIPT
def test_tags_and_properties_are_edited_and_others_changes_are_not_lost(
    floor: Floor, open_page: Open, script: bool
) -> None:
    one = floor.run("orders.charge", 8200, amount=2.0)
    one.update(tags=["old"], properties={"lr": 0.1})
    page = open_page(f"/executions/{one.id}", java_script_enabled=script)
    page.get_by_role("link", name="Edit…").click()
    page.get_by_label("Tags").fill("new tag")
    page.get_by_label("Value of lr").fill("0.2")
    page.get_by_label("Name of property 2").fill("owner")
    page.get_by_label("Value of property 2").fill("ann")
    one.update(tags=["theirs"])
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("have changed since you opened the form")
    expect(page.get_by_label("Tags")).to_have_value("new tag")
    page.get_by_label("Tags").fill("new tag\ntheirs")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Saved.")
    after = one.refresh()
    assert (set(after.tags), after.properties) == ({"new tag", "theirs"}, {"lr": 0.2, "owner": "ann"})
