"""The local stack as a whole: bring it up, find it again, take it down.

`up` compares what should run with what does, keeps what fits, and starts or replaces the rest. So it can
be called again at any time, also after a crash in the middle of an earlier call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from executions.errors import Unavailable
from workers.local import files, parts, processes
from workers.local.parts import Part, Spec, Wish
from workers.local.server import HOST, EmbeddedServer
from workers.local.waiting import wait_until

FOLDER = ".executions"

#: Seconds to wait for another `up` or `down` in the same folder: as long as one of them may take.
LOCK_S = 120.0

#: Seconds that workers and Flower have to become ready. Celery needs two, a loaded machine many more.
READY_S = 90.0

#: Seconds that running functions have to end when the stack is stopped; the rest are killed.
GRACE_S = 10.0

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What runs now."""

    url: str
    server: EmbeddedServer | None
    parts: tuple[Part, ...]

    @property
    def flower_url(self) -> str | None:
        """The address of Flower with its login, if it runs."""
        found = (part.spec for part in self.parts if part.spec.name == "flower")
        return next((f"http://{spec.env['FLOWER_BASIC_AUTH']}@{HOST}:{spec.port}" for spec in found), None)

    @property
    def page_url(self) -> str | None:
        """The address of the page and the API, if they are served."""
        found = (part.spec for part in self.parts if part.spec.name == "page")
        return next((f"http://{HOST}:{spec.port}" for spec in found), None)


class Stack:
    """The processes that belong to one folder."""

    def __init__(self, project: Path, say: Say = print) -> None:
        self.project = project.resolve()
        self.folder = self.project / FOLDER
        self._say = say

    def up(self, wish: Wish) -> Report:
        """Make everything that is wished for run, and wait until it does its work."""
        with self._alone():
            server = None if wish.url else self._start_server()
            env = self._environment(wish, server)
            recorded = {part.spec.name: part for part in self._recorded()}
            specs = self._specs(wish, env, recorded)
            self._retire(recorded, keep={spec.name: spec for spec in specs})
            self._start_missing(specs)
            self._wait_until_ready(wish, env)
            return Report(url=env["EXECUTIONS_URL"], server=server, parts=tuple(self._recorded()))

    def down(self, grace_s: float = GRACE_S) -> list[str]:
        """Stop everything that was started here; give the names of what was running."""
        if not self.folder.exists():
            return []
        with self._alone():
            recorded = self._recorded()
            names = [part.spec.name for part in recorded if part.is_alive]
            self._end(recorded, grace_s)
            leftovers = processes.marked(f"{self.folder}:")
            processes.stop(leftovers, grace_s)
            names += ["what an earlier run had left"] if leftovers else []
            # The server goes last: workers write down how their executions ended.
            server = self._server()
            names += ["server"] if server.is_running else []
            server.stop()
            return names

    @contextmanager
    def _alone(self) -> Iterator[None]:
        files.make_private(self.folder)

        def say_so() -> None:
            self._say("waiting for another `executions up` or `down` in this folder")

        with files.locked(self.folder / "lock", LOCK_S, say_so):
            yield

    def _server(self) -> EmbeddedServer:
        return EmbeddedServer(self.folder / "valkey")

    def _start_server(self) -> EmbeddedServer:
        server = self._server().start()
        self._say(f"server {'runs already' if server.was_running else 'started'} on port {server.port}")
        return server

    @staticmethod
    def _environment(wish: Wish, server: EmbeddedServer | None) -> dict[str, str]:
        if server is None:
            return {"EXECUTIONS_URL": str(wish.url)}
        # An app that names a broker of its own is sent to the embedded server all the same: the stack on
        # a laptop must not take work from the broker of production. EXECUTIONS_BROKER says otherwise.
        return {"EXECUTIONS_URL": server.url, "CELERY_BROKER_URL": wish.broker or server.url}

    def _specs(self, wish: Wish, env: dict[str, str], recorded: dict[str, Part]) -> list[Spec]:
        specs = [parts.worker_spec(wish, number, env) for number in range(1, wish.workers + 1)]
        if wish.flower and not parts.is_installed("flower"):
            self._say("Flower is not installed: pip install 'executions[flower]'")
        elif wish.flower:
            specs.append(parts.flower_spec(wish, env, recorded.get("flower")))
        if wish.page and not (parts.is_installed("fastapi") and parts.is_installed("uvicorn")):
            self._say("the page is not installed: pip install 'executions[server]'")
        elif wish.page:
            specs.append(parts.page_spec(wish, env, recorded.get("page")))
        return specs

    def _retire(self, recorded: dict[str, Part], keep: dict[str, Spec]) -> None:
        """End what runs but is not wished for, or is wished for in another way."""
        retired = [part for name, part in recorded.items() if part.spec != keep.get(name)]
        for part in retired:
            if part.is_alive:
                why = "it changed" if part.spec.name in keep else "it is not wanted"
                self._say(f"stopping {part.spec.name}: {why}")
        self._end(retired, GRACE_S)

    def _start_missing(self, specs: list[Spec]) -> None:
        alive = {part.spec.name for part in self._recorded() if part.is_alive}
        for spec in specs:
            if spec.name in alive:
                self._say(f"{spec.name} runs already")
                continue
            # What a killed worker leaves behind would run on beside the new one under the same name.
            processes.stop(processes.marked(self._mark(spec.name)), GRACE_S)
            self._say(f"starting {spec.name}")
            others = [part for part in self._recorded() if part.spec.name != spec.name]
            self._record([*others, self._start(spec)])

    def _start(self, spec: Spec) -> Part:
        logs = self.folder / "logs"
        logs.mkdir(exist_ok=True)
        log = logs / f"{spec.name}.log"
        processes.rotate(log)
        log_start = log.stat().st_size if log.exists() else 0
        child = processes.start(spec.command, log=log, mark=self._mark(spec.name), env=spec.env, cwd=self.project)
        return Part(spec=spec, process=child.identity, log=log, log_start=log_start)

    def _wait_until_ready(self, wish: Wish, env: dict[str, str]) -> None:
        started = self._recorded()
        are_ready = wait_until(lambda: _all_ready(started), parts.ASK_AFTER_S) or wait_until(
            lambda: _all_ready(started, parts.answering_workers(wish, env)), READY_S
        )
        for part in started:
            if not part.is_alive:
                raise Unavailable(f"{part.spec.name} did not start: {part.last_words}; see {part.log}")
        if not are_ready:
            late = ", ".join(part.spec.name for part in started if not part.is_ready)
            raise Unavailable(f"not ready after {READY_S:.0f} s: {late}; see {self.folder / 'logs'}")
        self._record([replace(part, was_ready=True) for part in started])

    def _end(self, ended: Iterable[Part], grace_s: float) -> None:
        gone = list(ended)
        processes.stop([part.process for part in gone], grace_s)
        for part in gone:
            processes.stop(processes.marked(self._mark(part.spec.name)), grace_s)
        names = {part.spec.name for part in gone}
        self._record([part for part in self._recorded() if part.spec.name not in names])

    def _mark(self, name: str) -> str:
        return f"{self.folder}:{name}:"

    @property
    def _file(self) -> Path:
        return self.folder / "stack.json"

    def _recorded(self) -> list[Part]:
        listed = files.read_json(self._file).get("parts", [])
        found = [Part.parse(value) for value in listed] if isinstance(listed, list) else []
        return [part for part in found if part is not None]

    def _record(self, running: Iterable[Part]) -> None:
        files.write_json(self._file, {"parts": [part.as_dict() for part in running]})


def _all_ready(started: Iterable[Part], answering: Iterable[str] = ()) -> bool:
    """Tell whether there is nothing left to wait for; a part that has ended is nothing to wait for."""
    return all(part.is_ready or part.spec.name in answering or not part.is_alive for part in started)
