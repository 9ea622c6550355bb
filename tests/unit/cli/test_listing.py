"""How much a list on the command line reads."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from executions.cli.listing import compose, gather
from executions.page import Page


class Pages:
    """Executions of which none is found, however long one looks."""

    def __init__(self) -> None:
        self.asked = 0

    def list(self, query: str, **_: Any) -> Page:
        self.asked += 1
        return Page((), "further" if self.asked < 40 else None, scanned=1000, is_cut=True)


def test_a_table_stops_looking_and_a_list_for_programs_does_not() -> None:
    for most, asked, after in ((20_000, 20, "further"), (None, 40, None)):
        pages = Pages()
        session: Any = SimpleNamespace(client=SimpleNamespace(executions=pages))
        items, cursor, scanned = gather(session, "nowhere", ("-created", 50, None), most)
        assert (items, pages.asked, cursor, scanned) == ([], asked, after, asked * 1000)


def test_what_options_add_holds_for_all_of_a_query() -> None:
    assert compose("queue:a OR queue:b", "2h", {}) == "(queue:a OR queue:b) AND created:>=-2h"
    assert compose("queue:a OR queue:b", None, {"status": ()}) == "queue:a OR queue:b"
    assert compose("queue:a", None, {"status": ("failed",)}) == "queue:a AND status:failed"
