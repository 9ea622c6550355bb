"""A registry of executions that went random ways, and what a plain look at each of them says."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from executions import ids
from executions.execution import Execution
from executions.git import given
from executions.registry.connection import client_for
from executions.registry.queries import Queries
from executions.registry.space import Space
from executions.registry.transitions import Accepted, Ending, Opened, Started, Submission, Transitions
from executions.settings import Settings
from executions.states import Reason, Status

FUNCTIONS = ("tasks.train", "tasks.load", "tasks.report", "shop.pay", "a/b c")
QUEUES = ("cpu", "gpu", None)
PIPELINES = ("mnist", "mnist-classifier", None)
CODES = (None, given("0123abcd", "main"), given("0123abcd", "feature/x"), given("fedc0000"))
STAGES = ("prepare", "fit", None)
WORKERS = ("celery@one", "celery@two", "celery@three")
TAGS = ("nightly", "gpu box", "x,y", 'say "hi"')

#: Some of these, by chance, are the properties of an execution, as JSON.
PROPERTIES = {
    "lr": ("0.001", "1e-2", '"0.1"', '"0.10000000000000001"', "-2", "12345678901234567890"),
    "epochs": ("1", "5", "10", "20", "2e1"),
    "tag": ('"production"', '"baseline"', '"two words"', '"Été"', '"5 of 7"', '""'),
    "my key": ("true", "null", "[1,2]", '"true"', '"' + "long " * 30 + '"'),
}
LOSSES = (0.05, 0.1, 0.25, 1.0, -3.5, 1e300)

ENDINGS = (
    Ending(status=Status.SUCCESS, result="1", fields=("out", "1")),
    Ending(
        status=Status.FAILED,
        reason=Reason.ERROR,
        message="ValueError: no such Column",
        fields=("er", '{"exc_type":"ValueError","message":"no such Column","fingerprint":"f00d"}'),
    ),
    Ending(status=Status.FAILED, reason=Reason.TIMEOUT),
    Ending(status=Status.TERMINATED, reason=Reason.REQUESTED),
)


@dataclass
class Registry:
    """A registry of a test, and what the test knows of the executions in it."""

    space: Space
    rng: random.Random
    ids: list[str] = field(default_factory=list)
    #: Executions whose current end followed a start: those that have a duration.
    timed: set[str] = field(default_factory=set)
    #: The last value of each metric, by execution and name.
    losses: dict[tuple[str, str], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.transitions = Transitions(self.space)
        self.queries = Queries(self.space)

    def add(self) -> str:
        """Accept a random execution and take it a random way."""
        execution_id = self.submit()
        self.move(execution_id)
        return execution_id

    def submit(self, made: str = "") -> str:
        """Accept a random execution, under an id of the caller's or one of many kinds."""
        rng = self.rng
        parent = rng.choice(self.ids) if self.ids and rng.random() < 0.3 else None
        root = (self.queries.get(parent).root_id or parent) if parent else None
        made = made or (f"odd-{rng.random()}" if rng.random() < 0.1 else ids.new_id(rng.randrange(64)))
        submission = Submission(
            id=made,
            function=rng.choice(FUNCTIONS),
            inputs="[[],{}]",
            queue=rng.choice(QUEUES),
            pipeline=rng.choice(PIPELINES),
            stage=rng.choice(STAGES),
            service=rng.choice(("trainer", None, None)),
            principal=rng.choice(("ann@host", "bob@host")),
            name=f"name {rng.randrange(50)}" if rng.random() < 0.2 else None,
            tags=tuple(rng.sample(TAGS, rng.randrange(3))),
            parent_id=parent,
            root_id=root,
            code=rng.choice(CODES),
            properties={key: rng.choice(texts) for key, texts in PROPERTIES.items() if rng.random() < 0.4},
        )
        assert isinstance(self.transitions.submit(submission), Accepted)
        self.ids.append(made)
        return made

    def move(self, execution_id: str) -> None:
        """Take an execution through up to three random moves."""
        moves = [self._start_and_end] * 5 + [self._start, self._cancel, self._park, self._settle]
        for _ in range(self.rng.choice((0, 1, 1, 1, 2, 3))):
            self.rng.choice(moves)(execution_id)

    def _start(self, execution_id: str) -> None:
        self._reopen(execution_id)
        worker = self.rng.choice(WORKERS)
        self.transitions.start(execution_id, None, worker=worker, pid=7, pool="solo")

    def _start_and_end(self, execution_id: str) -> None:
        self._reopen(execution_id)
        worker = self.rng.choice(WORKERS)
        started = self.transitions.start(execution_id, None, worker=worker, pid=7, pool="solo")
        if not isinstance(started, Started):
            return
        for _ in range(self.rng.choice((0, 0, 1, 2))):
            loss, name = self.rng.choice(LOSSES), self.rng.choice(("loss", "val loss"))
            self.transitions.report(execution_id, started.attempt, fields=(f"m.{name}", repr(loss)))
            self.losses[execution_id, name] = loss
        if self.rng.random() < 0.3:
            changed = ("p.epochs", self.rng.choice(PROPERTIES["epochs"]))
            self.transitions.report(execution_id, started.attempt, fields=changed)
        if self.rng.random() < 0.15:
            self.transitions.retry(execution_id, started.attempt)
            return
        self.transitions.finish(execution_id, started.attempt, self.rng.choice(ENDINGS))
        self.timed.add(execution_id)

    def _cancel(self, execution_id: str) -> None:
        self._reopen(execution_id)
        self.transitions.terminate(execution_id, principal="ann", cause="no", mode="soft", grace_s=None, at_us=0)

    def _settle(self, execution_id: str) -> None:
        self._reopen(execution_id)
        self.transitions.settle(execution_id, Ending(status=Status.FAILED, reason=Reason.REJECTED))

    def _park(self, execution_id: str) -> None:
        self.transitions.park(execution_id, reason=Reason.WAITING)

    def _reopen(self, execution_id: str) -> None:
        if isinstance(self.transitions.rerun(execution_id, principal="ann"), Opened):
            self.timed.discard(execution_id)

    def all(self) -> list[Execution]:
        return [self.queries.get(execution_id) for execution_id in self.ids]

    def duration(self, execution: Execution) -> float | None:
        return execution.duration if execution.id in self.timed else None

    def tie(self, execution: Execution) -> tuple[int, int]:
        """How equal durations are ordered: by the low bits of the number, then by the number."""
        local = execution.number // self.space.shards
        return local % 1024, execution.number

    def sorted(self, sort: str, chosen: list[Execution]) -> list[str]:
        """What a page should hold, by the records alone."""
        name, down = sort.lstrip("-"), sort.startswith("-")
        read: Callable[[Execution], object] = (
            self.duration if name == "duration" else lambda execution: getattr(execution, name)
        )
        valued = [execution for execution in chosen if read(execution) is not None]
        others = [execution for execution in chosen if read(execution) is None]
        valued.sort(key=lambda execution: (read(execution), self.tie(execution)), reverse=down)
        others.sort(key=lambda execution: execution.created or datetime.min, reverse=down)
        return [execution.id for execution in valued + others]


def make_registry(url: str, namespace: str, shards: int, seed: int = 7) -> Registry:
    return Registry(Space(Settings(url=url, namespace=namespace, shards=shards)), random.Random(seed))


def filled_registry(url: str, shards: int) -> Iterator[Registry]:
    """Give a registry of a few hundred executions, and take it away at the end."""
    name = f"filled-{ids.new_id()}"
    registry = make_registry(url, name, shards)
    for _ in range(400):
        registry.add()
    yield registry
    client = client_for(url)
    for key in client.scan_iter(f"{name}:*", count=1000):
        client.delete(key)
