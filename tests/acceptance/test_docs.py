"""What the documents show is run: each page is a story, from its first snippet to its last.

- A Python block that begins with `# name.py` is that file; any other runs where the ones before it ran.
- A statement that ends in `# -> value` has to give that value.
- In a console block each line with `$` has to succeed. A worker is started and stays until the page ends.
- What a machine cannot or should not do for a reader is in `ELSEWHERE`, each with who does it.
- `<!-- not run: why -->` before a block leaves it out.
"""

from __future__ import annotations

import ast
import itertools
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.fleet import _ENVIRON, eventually

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "ARCHITECTURE.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(
    r"(?P<note><!-- not run: [^\n]+ -->\n+)?^```(?P<kind>python|console)\n(?P<text>.*?)^```", re.M | re.S
)

#: The address that the documents write, and which stands for the reader's server.
WRITTEN_URL = "redis://127.0.0.1:6379/0"

#: Commands that other tests run (test_up, test_front_door, .ci/run), or that change the machine.
ELSEWHERE = ("pip ", "make", "git ", "docker ", "executions down", "cd ", "source ", "pytest")

_databases = itertools.count()


def blocks(page: Path) -> list[tuple[str, str]]:
    return [(m["kind"], m["text"]) for m in BLOCK.finditer(page.read_text()) if not m["note"]]


def has_story(page: Path) -> bool:
    return any(kind == "python" or commands(text) for kind, text in blocks(page))


def commands(text: str) -> list[str]:
    """Give the commands of a console block that are run here."""
    found = [line[2:].partition(" #")[0].strip() for line in text.splitlines() if line.startswith("$ ")]
    found = [command for command in found if command != "executions up"]
    return [command for command in found if not command.startswith(ELSEWHERE)]


class Story:
    """A reader who does all that a page says, in an empty folder, with a server of their own."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.workers: list[subprocess.Popen[bytes]] = []
        self.environ = {**_ENVIRON, "PYTHONPATH": f"{ROOT}:{folder}", "COLUMNS": "160"}

    def python(self, text: str, line: int) -> None:
        text = text.replace(WRITTEN_URL, self.url)
        file = re.match(r"# (\w+\.py)\n", text)
        if file:
            (self.folder / file[1]).write_text(text)
            return
        for statement in ast.parse(text).body:
            self.run(statement, text)

    def run(self, statement: ast.stmt, text: str) -> None:
        lines = text.splitlines()[statement.lineno - 1 : statement.end_lineno]
        last = lines[-1]
        assert not any("# -> " in line for line in lines[:-1]), "only a statement that stands by itself is checked"
        _, arrow, wanted = last.partition("# -> ")
        if arrow:
            assert isinstance(statement, ast.Expr), last
            given = repr(eval(compile(ast.Expression(statement.value), "page", "eval"), self.names))
            assert given == wanted.strip(), f"{last.strip()}\ngives {given}"
        else:
            exec(compile(ast.Module([statement], []), "page", "exec"), self.names)

    def console(self, text: str) -> None:
        for command in commands(text):
            words = shlex.split(command)
            if words[0] == "export":
                name, _, value = words[1].partition("=")
                self.environ[name] = value.replace(WRITTEN_URL, self.url)
            elif "worker" in words and words[0] == "celery":
                self.start_worker(words[1:])
            elif words[:2] == ["executions", "up"]:
                # It is run by test_up; what it starts for an app are workers such as this.
                self.start_worker([*words[2:], "worker"])
            else:
                self.shell(command)

    def shell(self, command: str) -> None:
        command = command.replace(WRITTEN_URL, self.url)
        for program, module in (("executions", "executions.cli"), ("celery", "celery"), ("python", "")):
            called = f"{shlex.quote(sys.executable)} -m {module}" if module else shlex.quote(sys.executable)
            command = re.sub(rf"(^|\| |\$\(){program}(?= )", lambda m, to=called: f"{m[1]}{to}", command)  # type: ignore[misc]
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

    def start_worker(self, arguments: list[str]) -> None:
        log_path = self.folder / f"worker{len(self.workers)}.log"
        more = [] if "-c" in arguments or "--concurrency" in arguments else ["-c", "2"]
        with log_path.open("wb") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "celery", *arguments, *more, "-n", f"w{len(self.workers)}@page", "-l", "INFO"],
                cwd=self.folder, env=self.environ, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.workers.append(worker)
        eventually(lambda: " ready." in log_path.read_text() or worker.poll() is not None, "worker")
        assert worker.poll() is None, log_path.read_text()

    def end(self) -> None:
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            try:
                worker.wait(timeout=10)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait(timeout=10)


@pytest.fixture
def story(server_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    url = f"{server_url.rsplit('/', 1)[0]}/{next(_databases) % 8 + 8}"
    for name, value in (
        ("EXECUTIONS_URL", url),
        ("CELERY_BROKER_URL", url),
        ("EXECUTIONS_NAMESPACE", f"d{tmp_path.parent.name[-6:]}{tmp_path.name[-20:]}"),
        ("EXECUTIONS_PAYLOADS", str(tmp_path / "payloads")),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    told = Story(url, tmp_path)
    yield told
    told.end()
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p.exists() and has_story(p)], ids=lambda p: str(p.relative_to(ROOT))
)
def test_a_page_works_as_it_says(page: Path, story: Story) -> None:
    for kind, text in blocks(page):
        story.python(text, 0) if kind == "python" else story.console(text)


@pytest.mark.parametrize("page", [p for p in PAGES if p.exists()], ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
