"""Leaders that are killed one after the other, for every run of the suite; `python -m tests.chaos.leader` kills 100."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE_S = 240


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE_S + 20)
def test_upkeep_goes_on_however_often_its_leader_is_killed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.leader", "--kills", "4"],
        cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path)}, capture_output=True, text=True,  # noqa: TID251
        timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 kill_leader" in done.stdout
    assert "0 promises broken" in done.stdout
