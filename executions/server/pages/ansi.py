"""Colours that a program wrote for a terminal, as class names; every other escape is dropped."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

_ESCAPE = re.compile(r"\x1b(?:\[([0-9;:]*)m|\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])?")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

_STYLES = {1: "b", 2: "dim", 3: "i", 4: "u"}
_OFF = {22: ("b", "dim"), 23: ("i",), 24: ("u",)}


def to_html(text: str) -> Markup:
    """Write a line as HTML: its text escaped, its colours as classes `a0` to `a15`."""
    # What a progress bar wrote over is not there any more.
    text = text.rstrip("\r").rpartition("\r")[2]
    if "\x1b" not in text:
        return escape(_CONTROL.sub("", text))
    parts: list[Markup] = []
    classes: tuple[str, ...] = ()
    at = 0
    for found in _ESCAPE.finditer(text):
        parts.append(_span(text[at : found.start()], classes))
        at = found.end()
        if found[1] is not None:
            classes = _after(classes, found[1])
    parts.append(_span(text[at:], classes))
    return Markup("").join(parts)


def without(text: str) -> str:
    """Give the text alone."""
    return _ESCAPE.sub("", text)


def _span(text: str, classes: tuple[str, ...]) -> Markup:
    safe = escape(_CONTROL.sub("", text))
    return Markup('<span class="{}">{}</span>').format(" ".join(classes), safe) if classes and text else safe


def _after(classes: tuple[str, ...], codes: str) -> tuple[str, ...]:
    found = list(classes)
    numbers = [int(code) if code else 0 for code in re.split("[;:]", codes)[:32]]
    while numbers:
        code = numbers.pop(0)
        if code == 0:
            found = []
        elif code in _STYLES:
            found.append(_STYLES[code])
        elif code in _OFF:
            found = [one for one in found if one not in _OFF[code]]
        elif code in (38, 48):
            # Of 256 colours the first sixteen are the ones we have; true colours are left out.
            kind = numbers.pop(0) if numbers else 0
            rest = [numbers.pop(0) for _ in range(min(len(numbers), 1 if kind == 5 else 3))]
            if code == 38:
                found = _coloured(found, rest[0] if kind == 5 and rest and rest[0] < 16 else None)
        elif 30 <= code <= 37 or 90 <= code <= 97:
            found = _coloured(found, code - 30 if code < 90 else code - 82)
        elif code == 39:
            found = _coloured(found, None)
    return tuple(dict.fromkeys(found))


def _coloured(classes: list[str], colour: int | None) -> list[str]:
    rest = [one for one in classes if one in ("b", "dim", "i", "u")]
    return rest if colour is None else [*rest, f"a{colour}"]
