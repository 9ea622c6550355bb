"""What a program wrote for a terminal, as HTML: its colours by class, its text as text, nothing else of it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executions.server.pages.ansi import to_html, without


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("plain", "plain"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("\x1b[31mred\x1b[0m after", '<span class="a1">red</span> after'),
        ("\x1b[1;32mboth\x1b[22mone", '<span class="b a2">both</span><span class="a2">one</span>'),
        ("\x1b[38;5;9mbright\x1b[39m", '<span class="a9">bright</span>'),
        ("\x1b[38;2;1;2;3mtrue", "true"),
        ("\x1b[2Kcleared\x1b]0;title\x07", "cleared"),
        ("10%\r50%\r100%\r", "100%"),
        ("\x1b[31m<script>\x1b[m", '<span class="a1">&lt;script&gt;</span>'),
        ("cut \x1b", "cut "),
    ],
)
def test_a_line_is_told_as_a_terminal_shows_it(line: str, expected: str) -> None:
    assert str(to_html(line)) == expected


@given(st.text(alphabet=st.sampled_from("\x1b[]0123456789;:mK<>&\"'\r\x07ab "), max_size=60))
def test_nothing_but_our_spans_comes_out_as_markup(line: str) -> None:
    html = str(to_html(line))
    assert "\x1b" not in html
    rest = re.sub(r'<span class="[a-z0-9 ]+">|</span>', "", html)
    assert "<" not in rest
    assert ">" not in rest
    assert "\x1b" not in without(line)
