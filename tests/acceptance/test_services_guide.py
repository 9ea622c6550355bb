"""The guide to services does what it says: its first snippet is the worker's module, the others run in order."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.fleet import ROOT, Fleet

GUIDE = ROOT / "docs" / "guides" / "services.md"


def snippets() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)


def test_every_snippet_of_the_guide_runs(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    module, *rest = snippets()
    Path(fleet.folder, "trainer.py").write_text(module)
    fleet.environ["EXECUTIONS_URL"] = fleet.url
    monkeypatch.setenv("EXECUTIONS_URL", fleet.url)
    fleet.start("prefork", 2, app="trainer")
    assert "trainer" not in sys.modules
    names: dict[str, Any] = {}
    for number, snippet in enumerate(rest, 2):
        exec(compile(snippet, f"snippet {number}", "exec"), names)
    names["client"].close()
