"""What is written can be read: every colour of text on every ground it stands on, in both themes (WCAG AA)."""

from __future__ import annotations

import re

import pytest

from executions.server.pages.site import STATIC

#: The contrast that WCAG AA wants of text.
ENOUGH = 4.5

SHEET = (STATIC / "console.css").read_text()
TEXT = ("ink", "dim", "accent", "pending", "running", "success", "cached", "failed", "terminated")
GROUNDS = ("page", "card", "raised", "hover", "accent-soft")


def theme(selector: str) -> dict[str, str]:
    """Read the colours of a theme."""
    body = SHEET.split(selector, 1)[1].split("}", 1)[0]
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6})", body))


def light_of(colour: str) -> float:
    """Give a colour's relative luminance."""
    code = colour[1:] if len(colour) == 7 else "".join(one * 2 for one in colour[1:])
    parts = [int(code[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Give the contrast of two colours."""
    low, high = sorted((light_of(one), light_of(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("selector", [":root {", ':root[data-theme="dark"] {'])
def test_text_can_be_read_on_every_ground(selector: str) -> None:
    colours = theme(selector)
    pairs = [(text, ground) for text in TEXT for ground in GROUNDS]
    pairs += [("accent-ink", "accent"), ("failed", "failed-soft"), ("success", "ok-soft"), ("dim", "sunken")]
    weak = {f"{text} on {ground}": round(found, 2) for text, ground in pairs
            if (found := contrast(colours[text], colours[ground])) < ENOUGH}  # fmt: skip
    assert weak == {}


def test_the_dark_theme_is_the_same_by_choice_and_by_the_system() -> None:
    assert theme(':root:not([data-theme="light"]) {') == theme(':root[data-theme="dark"] {')
