"""Plain documents: what has to be shown where no page of the console is at hand."""

from __future__ import annotations

from html import escape


def document(title: str, body: str, base: str = "") -> str:
    """Give a whole document around a body that is HTML already."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<link rel="stylesheet" href="{escape(base)}/static/console.css">'
        f'<title>{escape(title)}</title></head><body><main class="alone">\n{body}\n</main></body></html>\n'
    )
