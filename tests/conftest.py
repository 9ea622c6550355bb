"""What every ring of tests stands on: a real server, a key namespace of one's own, a clean environment.

`EXECUTIONS_TEST_SERVER` chooses the server: `valkey` (the embedded one, the default), `redis` (the
`redis-server` on the PATH) or `valkey,redis` to run each test that needs a server on both. `cluster` is a cluster
of three Valkeys, for the tests that need a registry and no broker.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from xdist.scheduler import LoadFileScheduling

from executions.errors import Unavailable
from tests.rabbitmq import RabbitMQ, find_program
from tests.servers import Cluster
from workers.local.server import EmbeddedServer, find_binary
from workers.local.waiting import wait_until

#: The tests that drive a browser.
BROWSER = "tests/browser/"

KINDS = ("valkey", "redis", "cluster")

#: Seconds that a condition has to come true before a test fails, unless it says otherwise.
PATIENCE_S = 20.0

_kinds = pytest.StashKey[list[str]]()
_in_ci = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Read what is for the tests, then scrub what would change the behaviour of the tested."""
    config.addinivalue_line("markers", "server: needs a server; set by itself")
    environ = os.environ  # noqa: TID251
    config.stash[_kinds] = environ.get("EXECUTIONS_TEST_SERVER", KINDS[0]).split(",")
    config.stash[_in_ci] = environ.get("CI", "").lower() not in ("", "0", "false")
    for name in [name for name in environ if name.startswith(("EXECUTIONS_", "CELERY_", "FLOWER_"))]:
        if name != "EXECUTIONS_TEST_SERVER":  # The processes that run tests in parallel read it again.
            del environ[name]
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell makes what it starts in the background deaf to Ctrl-C, and what that starts inherits it.
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Give a process to each core and two more: most tests wait for others. More than eight have no files to share."""
    return min(8, 2 + (os.cpu_count() or 1))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a file together, and all that drive a browser: two of those at once starve everything else."""

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return BROWSER if nodeid.startswith(BROWSER) else super()._split_scope(nodeid)

    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need a server, so that a run on another server can be for them alone.

    Those that drive a browser come first: together they take longest, and run one after the other.
    """
    items.sort(key=lambda item: not item.nodeid.startswith(BROWSER))
    for item in items:
        if "server_kind" in getattr(item, "fixturenames", ()):
            item.add_marker("server")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that needs a server once for each kind that was asked for."""
    kinds = metafunc.config.stash[_kinds]
    if "server_kind" in metafunc.fixturenames and len(kinds) > 1:
        metafunc.parametrize("server_kind", kinds, indirect=True, scope="session")


@pytest.fixture(scope="session")
def server_kind(request: pytest.FixtureRequest) -> str:
    """Which server the test runs on."""
    kind = getattr(request, "param", request.config.stash[_kinds][0])
    if kind not in KINDS:
        pytest.fail(f"EXECUTIONS_TEST_SERVER knows {' and '.join(KINDS)}, not {kind!r}")
    return str(kind)


@pytest.fixture(scope="session")
def server_binary(server_kind: str, request: pytest.FixtureRequest) -> Path:
    """The server's program; without it the test is skipped, or fails where nothing may be skipped."""
    try:
        found = shutil.which("redis-server") if server_kind == "redis" else find_binary()
        missing = "redis-server is not on the PATH"
    except Unavailable as error:
        found, missing = None, str(error)
    if found is None:
        (pytest.fail if request.config.stash[_in_ci] else pytest.skip)(missing)
    return Path(found)


class StartServer(Protocol):
    """Starts a server that ends with the test run, whatever happens to it."""

    def __call__(self, folder: Path | None = None, port: int | None = 0, extra: str = "") -> EmbeddedServer: ...


@pytest.fixture(scope="session")
def start_server(server_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Start further servers, for tests that stop, kill or fill one; each on a free port unless it says."""
    started: list[EmbeddedServer] = []

    def start(folder: Path | None = None, port: int | None = 0, extra: str = "") -> EmbeddedServer:
        folder = folder or tmp_path_factory.mktemp("server")
        server = EmbeddedServer(folder, port, binary=server_binary, dies_with_parent=True, extra=extra)
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def server(start_server: StartServer) -> EmbeddedServer:
    """The server that tests share; nobody may stop or flush it."""
    return start_server()


@pytest.fixture(scope="session")
def server_url(request: pytest.FixtureRequest, server_kind: str) -> str:
    """The address of the server, or of the cluster, that tests share."""
    shared = "cluster" if server_kind == "cluster" else "server"
    return str(request.getfixturevalue(shared).url)


@pytest.fixture(scope="session")
def broker_url(server: EmbeddedServer) -> str:
    """Where the messages go: the registry's server, unless that is a cluster."""
    return server.url


@pytest.fixture(scope="session")
def cluster(start_server: StartServer) -> Cluster:
    """A cluster of three that tests share."""
    return Cluster(start_server)


@pytest.fixture(scope="session")
def rabbitmq(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """A RabbitMQ that tests share, each with queues of its own; without the program they are skipped, or fail."""
    program = find_program()
    if program is None:
        (pytest.fail if request.config.stash[_in_ci] else pytest.skip)("rabbitmq-server is not installed")
    broker = RabbitMQ(program, tmp_path_factory.mktemp("rabbitmq"))
    try:
        yield broker.start()
    finally:
        broker.stop()


@pytest.fixture
def namespace() -> str:
    """A key prefix that no other test has, in place of flushing the server."""
    return f"t{secrets.token_hex(6)}"


class Eventually(Protocol):
    """Waits for a condition, and fails the test when it does not come true in time."""

    def __call__(self, condition: Callable[[], object], within_s: float = PATIENCE_S) -> None: ...


@pytest.fixture(scope="session")
def eventually() -> Eventually:
    """Wait for what another process or thread does, in place of sleeping."""

    def wait(condition: Callable[[], object], within_s: float = PATIENCE_S) -> None:
        __tracebackhide__ = True
        if not wait_until(lambda: bool(condition()), within_s):
            pytest.fail(f"still not so after {within_s:.0f} s")

    return wait
