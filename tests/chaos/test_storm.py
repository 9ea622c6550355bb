"""A short storm over a real fleet, for every run of the suite; `make chaos` runs longer ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Seconds of the storm; its quiet comes after it.
STORM_S = 20
PATIENCE_S = 280


@pytest.mark.timeout(PATIENCE_S + 20)
def test_a_fleet_keeps_its_promises_in_a_storm(server_kind: str, tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "tests.chaos", "--seconds", str(STORM_S), "--seed", "7", "--backend", server_kind,
        "--pools", "prefork,threads", "--work", "4",
    ]  # fmt: skip
    environ = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}  # noqa: TID251
    storm = subprocess.Popen(
        command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        said, _ = storm.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        storm.send_signal(signal.SIGINT)  # it ends its fleet
        said, _ = storm.communicate(timeout=20)
    assert storm.returncode == 0, said
    assert "0 promises broken" in said
