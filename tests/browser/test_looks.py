"""Every page in both themes and on a phone: nothing breaks out of it, and a picture of each is kept to look at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Floor

#: Where the pictures go; git does not see this folder.
PICTURES = Path(__file__).parents[2] / "build" / "screenshots"

PAGES = {
    "overview": "/",
    "executions": "/executions",
    "executions-filtered": "/executions?q=status:failed AND function:orders.charge",
    "executions-none": "/executions?q=name:nothing-of-this-name",
    "executions-wrong": "/executions?q=statsu:failed",
    "failed": "/executions/{failed}?in=status:failed",
    "trained": "/executions/{trained}",
    "retried": "/executions/{retried}",
    "running": "/executions/{running}",
    "waiting": "/executions/{waiting}",
    "unserved": "/executions/{unserved}",
    "stopped": "/executions/{stopped}",
    "logs": "/executions/{trained}/logs",
    "raw": "/executions/{trained}/raw",
    "launch": "/executions/new",
    "launch-function": "/executions/new?function=models.train",
    "relaunch": "/executions/new?from={failed}",
    "services": "/services",
    "service": "/services/importer",
    "workers": "/workers",
    "queues": "/queues",
    "failures": "/failures",
    "bulks": "/bulk",
    "bulk": "/bulk/{bulk}",
    "audit": "/audit",
    "unknown": "/executions/no-such-id",
    "columns": "/executions?pick=1&columns=created,duration,property.learning_rate,metric.loss,tags,principal",
    "edit": "/executions/{trained}?edit",
    "views": "/views",
    "view": "/views/{view}",
    "view-list": "/executions?view={view}&sort=created",
    "login": "/login",
    "api": "/api",
    "problem": "/problems/invalid-query",
}

#: What is answered where it is not 200.
EXPECTED = {"executions-wrong": 422, "unknown": 404}


@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_every_page_is_whole_in_every_look(floor: Floor, open_page: Callable[..., Page], look: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    size = {"width": 390, "height": 844} if look == "phone" else {"width": 1440, "height": 900}
    page = open_page("/workers", viewport=size, color_scheme="dark" if look == "dark" else "light")
    for name, path in PAGES.items():
        answer = page.goto(path.format(**floor.ids))
        assert answer is not None
        assert answer.status == EXPECTED.get(name, 200), name
        page.wait_for_load_state("load")
        if name == "view-list":
            page.locator(".views summary").click()
        page.screenshot(path=PICTURES / f"{name}-{look}.png", full_page=True)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{name} is wider than the window"
        assert page.locator("h1, .empty-title").count() > 0, name
    page.goto("/executions?q=function:orders.charge")
    page.locator("thead .pick input").check()
    page.get_by_role("button", name="Rerun…").click()
    page.get_by_role("heading", name="Rerun").wait_for()
    page.screenshot(path=PICTURES / f"bulk-plan-{look}.png", full_page=True)
