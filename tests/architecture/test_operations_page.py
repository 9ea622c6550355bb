"""The operations page lists every action that is logged."""

from __future__ import annotations

from executions.telemetry import ACTIONS
from tests.architecture.source import ROOT


def test_every_action_is_described_for_operators() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    assert [action for action in ACTIONS if f"`{action}`" not in page] == []
