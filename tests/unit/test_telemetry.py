"""What is told of an outage, and what is not."""

from __future__ import annotations

import logging

import pytest

from executions.clock import ManualClock
from executions.telemetry import OUTAGE_TOLD_EVERY_S, Outage


def test_an_outage_is_told_when_it_begins_now_and_then_and_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = ManualClock()
    outage = Outage(logging.getLogger("executions.test"), "beat", clock)
    # Given a loop that finds its server there, then five times a second not for 70 seconds, then there again
    outage.over()
    for _ in range(5 * 70):
        outage.goes_on(OSError("refused"))
        clock.at += 0.2
    outage.over()
    outage.over()
    # I expect a line for each half minute that began, and one for the end, which says how long it was
    assert [record.getMessage() for record in caplog.records] == [
        *["registry.unreachable while_doing=beat error=refused"] * 3,
        "registry.reached while_doing=beat lasted_s=70.0",
    ]


def test_the_next_outage_is_told_at_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    outage = Outage(logging.getLogger("executions.test"), "beat", clock)
    for _ in range(2):
        outage.goes_on(OSError("refused"))
        outage.over()
        clock.at += OUTAGE_TOLD_EVERY_S / 10
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 2
