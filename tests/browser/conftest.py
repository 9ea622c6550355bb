"""A browser before a real server and real workers: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from executions import Client, Execution, connect
from executions.errors import ExecutionsError
from tests.conftest import Eventually, StartServer
from tests.web import served

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

#: Milliseconds that a page has to become what is expected, on a machine that runs other tests too.
PATIENCE_MS = 15_000

ENVIRON = os.environ  # noqa: TID251


@dataclass
class Floor:
    """A registry with workers, and the server that shows it."""

    url: str
    registry: str
    client: Client
    folder: Path
    until: Path
    ids: dict[str, str] = field(default_factory=dict)

    def run(self, function: str, *args: Any, **options: Any) -> Execution:
        """Run one to its end."""
        return self.client.submit(function, *args, **options).wait(timeout=30)


@pytest.fixture(scope="module")
def floor(
    start_server: StartServer, tmp_path_factory: pytest.TempPathFactory, eventually: Eventually
) -> Iterator[Floor]:
    """Two workers, a server, and a morning's executions."""
    folder = tmp_path_factory.mktemp("floor")
    registry = start_server().url
    settings = {"EXECUTIONS_PAYLOADS": str(folder / "payloads"), "EXECUTIONS_RUN_DIR": str(folder / "run")}
    (folder / "payloads").mkdir()
    environ = {**ENVIRON, **settings, "FLOOR_BROKER": registry, "PYTHONPATH": f"{ROOT}:{HERE}"}
    workers = [
        _worker(folder, environ, name, queues, size)
        for name, queues, size in (("press", "celery,media", 3), ("forge", "gpu", 1))
    ]
    with connect(registry, payloads=settings["EXECUTIONS_PAYLOADS"], principal="ann") as client:
        try:
            eventually(lambda: len(_alive(client)) == 2, within_s=40)
            with served(registry, "ex", folder=folder / "payloads") as web:
                made = Floor(web.url, registry, client, folder, folder / "until")
                _morning(made)
                yield made
        finally:
            (folder / "until").touch()
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.wait(timeout=20)


def _worker(folder: Path, environ: dict[str, str], name: str, queues: str, size: int) -> subprocess.Popen[bytes]:
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [
                sys.executable, "-m", "celery", "-A", "floor", "worker", "-n", f"{name}@floor", "-Q", queues,
                "-P", "threads", "-c", str(size),
            ],
            stdout=log, stderr=subprocess.STDOUT, env=environ, cwd=folder,
        )  # fmt: skip


def _alive(client: Client) -> list[Any]:
    try:
        return [one for one in client.workers.list() if one.alive]
    except ExecutionsError:
        return []


def _morning(floor: Floor) -> None:
    """Have things happen: most go well, some do not, one runs on, some wait."""
    client, last = floor.client, None
    for number in range(14):
        client.submit("orders.charge", order=7000 + number, amount=19.9 + number, name=f"charge-{7000 + number}")
        client.submit("media.transcode", f"clip-{number}.mov", quality=("480p", "720p", "1080p")[number % 3])
    for number in range(4):
        last = client.submit("orders.charge", 8000 + number, amount=-5.0)
        client.submit("orders.reserve", "lamp", count=number + 1)
    assert last is not None
    floor.ids["failed"] = last.id
    trained = client.submit("models.train", "clicks-2026-11", epochs=20, name="recommender-nightly")
    retried = client.submit("feeds.sync", "https://feeds.example/stock.xml", succeed_at=3)
    client.services.get("archive").pause()
    waiting = client.services.get("archive").execute("load", path="old.csv")
    unserved = client.submit("media.stitch", "a.mov", queue="nowhere")
    floor.ids |= {"trained": trained.id, "retried": retried.id, "waiting": waiting.id, "unserved": unserved.id}
    for one in (trained, retried, last):
        one.wait(timeout=40)
    running = client.submit("reports.build", str(floor.until), day="2026-11-24")
    client.executions.get(last.id).add_note("The till was closed while this ran; charged by hand. Nothing to do.")
    kept = client.views.create(
        "Nightly", "pipeline:recommender", columns=["created", "property.learning_rate"], shared=True
    )
    client.acting_as("bob").views.create("Charges that failed", "function:orders.charge AND status:failed", shared=True)
    floor.ids["view"] = kept.id
    floor.ids["running"] = running.wait(until="started", timeout=20).id
    stopped = client.submit("reports.build", str(floor.until)).wait(until="started", timeout=20)
    stopped.terminate(cause="wrong day")
    stopped.wait(timeout=20)
    bulk = client.bulk("tag", "status:failed", tags=["seen"], reason="the supplier knows", limit=6)
    floor.ids["bulk"] = bulk.wait(timeout=20).id
    floor.ids["stopped"] = stopped.id


@pytest.fixture(scope="module")
def chromium(request: pytest.FixtureRequest) -> Iterator[Browser]:
    """The browser; without it a test is skipped on a laptop and fails in CI.

    Its driver keeps an event loop running in this thread, which no other module's tests may find there.
    """
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        is_ci = ENVIRON.get("CI", "").lower() not in ("", "0", "false")
        (pytest.fail if is_ci else pytest.skip)("chromium is not installed")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as driver:
        # Root has no sandbox of its own; in a container it is the only user.
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@dataclass
class Watched:
    """What a page did that it must not do."""

    elsewhere: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


class OpenPage:
    """Opens pages, and looks at each that nothing comes from elsewhere and nothing is refused."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._browser = browser
        self._url = url
        self._contexts: list[Any] = []
        self.watched = Watched()

    def __call__(self, path: str = "/executions", **options: Any) -> Page:
        """Open a page in a browser of its own."""
        options.setdefault("viewport", {"width": 1440, "height": 900})
        context = self._browser.new_context(base_url=self._url, **options)
        self._contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("request", lambda request: self._asked(request.url))
        page.on("console", lambda message: self._heard(message.type, message.text))
        page.on("pageerror", lambda error: self.watched.said.append(str(error)))
        page.goto(path)
        return page

    def _asked(self, url: str) -> None:
        if not url.startswith((self._url, "data:", "blob:")):
            self.watched.elsewhere.append(url)

    def _heard(self, kind: str, text: str) -> None:
        # That an answer was 404 or 409 is what some tests ask for.
        if kind == "error" and "Failed to load resource" not in text:
            self.watched.said.append(text)

    def close(self) -> None:
        """Close all of them."""
        for context in self._contexts:
            context.close()


@pytest.fixture
def open_page(chromium: Browser, floor: Floor) -> Iterator[Callable[..., Page]]:
    """Open pages of the floor's server; afterwards nothing may have been refused or come from elsewhere."""
    opener = OpenPage(chromium, floor.url)
    yield opener
    opener.close()
    assert opener.watched == Watched()
