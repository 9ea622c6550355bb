"""The one front door: what people and CI type does what it says, and names no place to download from."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements-dev.lock").read_text().splitlines()
TARGETS = ("help", "install", "up", "down", "test", "check", "bench", "clean")


def make(*arguments: str) -> str:
    ran = subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    return ran.stdout


def test_make_alone_lists_the_targets() -> None:
    said = make()
    assert said == make("help")
    assert [target for target in TARGETS if f"make {target} " not in said] == []


def test_ci_runs_the_targets_that_people_run() -> None:
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    text = script.read_text()
    assert "set -euo pipefail" in text
    assert "make check" in text
    assert "make test" in text


def test_the_lock_names_versions_and_nothing_else() -> None:
    assert LOCK
    assert [line for line in LOCK if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.+!]*", line)] == []


def test_the_lock_covers_what_development_needs() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    lists = re.findall(r"^(?:dependencies|\w+) = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    needed = {name.lower() for part in lists for name in re.findall(r'^    "([\w-]+)(?=>)', part, re.MULTILINE)}
    locked = {line.partition("==")[0].lower().replace("_", "-") for line in LOCK}
    assert "celery" in needed
    assert needed <= locked


def test_no_install_step_names_a_host() -> None:
    for name in ("Makefile", ".ci/run", "docker/Dockerfile", "requirements-dev.lock", "pyproject.toml"):
        assert re.findall(r"https?://|--(?:extra-)?index-url|--find-links", (ROOT / name).read_text()) == [], name
