"""The ways somebody uses a page: with a mouse, with the keyboard alone, or in a browser that runs no script."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page, expect

#: Presses of Tab after which something is out of reach.
FAR = 400

#: Whether something has the focus, and shows it.
_HAS_FOCUS = "one => one === document.activeElement && getComputedStyle(one).outlineStyle !== 'none'"


class Mouse:
    """Clicks, and types into what was clicked."""

    has_script = True

    def __init__(self, page: Page) -> None:
        self.page = page

    def press(self, target: Locator) -> None:
        """Follow a link, press a button, open a fold, tick a box."""
        target.click()

    def fill(self, target: Locator, text: str) -> None:
        """Replace what stands in a field."""
        target.fill(text)


class NoScript(Mouse):
    """The same where nothing of ours runs in the browser."""

    has_script = False


class Keyboard(Mouse):
    """Goes to everything with Tab, and acts on what has the focus, which must be seen."""

    def press(self, target: Locator) -> None:
        self._reach(target)
        is_box = target.evaluate("one => one.matches('input')")
        self.page.keyboard.press("Space" if is_box else "Enter")

    def fill(self, target: Locator, text: str) -> None:
        self._reach(target)
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.type(text)

    def _reach(self, target: Locator) -> None:
        expect(target).to_be_visible()
        for _ in range(FAR):
            if target.evaluate(_HAS_FOCUS):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"{FAR} presses of Tab do not lead to {target}")


WAYS: dict[str, type[Mouse]] = {"mouse": Mouse, "keyboard": Keyboard, "no-script": NoScript}


def hands(way: str, open_page: Callable[..., Page], path: str, **options: Any) -> Mouse:
    """Open a page to be used in one of the ways."""
    kind = WAYS[way]
    return kind(open_page(path, java_script_enabled=kind.has_script, **options))
