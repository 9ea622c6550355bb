"""`python -m tests.races`: two processes ask for what only one can have, at the same moment, again and again.

Both meet before each execution and then call the verb that theirs is, with nothing in between. Every race must have
exactly one winner, and the status log must tell which.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from executions.execution import Execution
from executions.ids import new_id
from executions.parts import Parts
from executions.policy import Policy
from executions.registry.queries import Queries
from executions.registry.submission import Submission
from executions.registry.transitions import Cancelled, Ended, Ending, Opened, Started, Transitions
from executions.settings import Settings
from executions.states import Reason, Status
from workers.local.server import EmbeddedServer

#: Seconds that one side waits for the other.
PATIENCE_S = 60.0

_LOST = "worker w1@host was lost"
_SUCCESS = Ending(status=Status.SUCCESS, result="7")
_WORKER_LOST = Ending(status=Status.FAILED, reason=Reason.WORKER_LOST, message=_LOST)

Verb = Callable[[Transitions, str, int], Any]


def _start(transitions: Transitions, one: str, side: int) -> Any:
    return transitions.start(
        one, 1, worker=f"w{side}@host", pid=side, pool="solo", policy=Policy(), claim=f"{side}.{one}"
    )


def _cancel(transitions: Transitions, one: str, side: int) -> Any:
    return transitions.terminate(one, principal="ann@desk", cause="", mode="checkpoint", grace_s=None, at_us=1)


def _finish(transitions: Transitions, one: str, side: int) -> Any:
    return transitions.finish(one, 1, _SUCCESS)


def _rescue(transitions: Transitions, one: str, side: int) -> Any:
    return transitions.lose(one, 1, message=_LOST, ended=())


def _give_up(transitions: Transitions, one: str, side: int) -> Any:
    return transitions.finish(one, 1, _WORKER_LOST)


@dataclass(frozen=True)
class Race:
    """What two sides try, and what the status log says after either has won."""

    sides: tuple[Verb, Verb]
    #: What a side answers that has won.
    wins: tuple[type, type]
    logs: tuple[tuple[str, ...], tuple[str, ...]]
    #: Whether the executions run already.
    runs: bool = False


_QUEUED = "pending/queued"
_RUNS = (_QUEUED, "running/started")

RACES = {
    "cancel against start": Race(
        (_cancel, _start), (Cancelled, Started), ((_QUEUED, "terminated/cancelled"), (*_RUNS, "running/terminating"))
    ),
    "two deliveries": Race((_start, _start), (Started, Started), (_RUNS, _RUNS)),
    "finish against rescue": Race(
        (_finish, _rescue), (Ended, Opened), ((*_RUNS, "success"), (*_RUNS, "pending/rerun")), runs=True
    ),
    "finish against giving up": Race(
        (_finish, _give_up), (Ended, Ended), ((*_RUNS, "success"), (*_RUNS, "failed/worker-lost")), runs=True
    ),
}


@dataclass
class Tally:
    """How the races of one kind went."""

    wins: Counter[int] = field(default_factory=Counter)
    #: Races that had no winner or two, or whose record says something else than who won.
    broken: list[str] = field(default_factory=list)
    seconds: float = 0.0


_meeting: Any = None


def _join(meeting: Any) -> None:
    """Make the place known where the sides meet: only what begins a process can hand it over."""
    global _meeting
    _meeting = meeting


def _take_part(name: str, side: int, settings: dict[str, Any], ids: list[str]) -> list[str]:
    """Run one side of all races; give what was answered."""
    verb, parts = RACES[name].sides[side], Parts(Settings(**settings))
    parts.transitions.status_of(ids[0])  # connected before the first race
    found = []
    for one in ids:
        _meeting.wait(PATIENCE_S)
        found.append(type(verb(parts.transitions, one, side)).__name__)
    return found


def run(name: str, settings: Settings, count: int) -> Tally:
    """Run so many races of one kind."""
    race, parts, tally = RACES[name], Parts(settings), Tally()
    ids = [new_id() for _ in range(count)]
    for one in ids:
        parts.transitions.submit(Submission(id=one, function="race", inputs="[[],{}]", queue="race", principal="ann"))
        if race.runs:
            _start(parts.transitions, one, 0)
    context, began = get_context("spawn"), time.monotonic()
    with ProcessPoolExecutor(2, context, _join, (context.Barrier(2),)) as pool:
        given = vars(settings)
        sides = [pool.submit(_take_part, name, side, given, ids) for side in (0, 1)]
        answers = zip(*(side.result() for side in sides), strict=True)
    tally.seconds = time.monotonic() - began
    queries = Queries(parts.space, lambda execution: execution)
    for one, said in zip(ids, answers, strict=True):
        _judge(race, queries.get(one), said, tally)
    return tally


def _judge(race: Race, execution: Execution, said: tuple[str, ...], tally: Tally) -> None:
    winners = [side for side in (0, 1) if said[side] == race.wins[side].__name__]
    log = tuple(f"{entry['status']}/{entry['reason']}".rstrip("/") for entry in execution.status_log)
    if len(winners) != 1 or log != race.logs[winners[0]] or not _names(execution, race, winners[0]):
        tally.broken.append(f"{execution.id}: {said[0]} and {said[1]}, and its log is {log} by {execution.worker}")
    else:
        tally.wins[winners[0]] += 1


def _names(execution: Execution, race: Race, winner: int) -> bool:
    """Whether the record names the one who started it."""
    if race.sides[winner] is not _start:
        return True
    return execution.worker == f"w{winner}@host"


def main() -> int:
    """Run all kinds on a server of their own and say how they went; 0 where each race had one winner."""
    parser = argparse.ArgumentParser(prog="python -m tests.races", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="races of each kind")
    count = parser.parse_args().count
    broken = 0
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(Path(folder), 0, dies_with_parent=True) as server:
        for name in RACES:
            tally = run(name, Settings(url=server.url, namespace=f"r{secrets.token_hex(3)}"), count)
            broken += len(tally.broken)
            sys.stdout.write(
                f"{name}: {count} in {tally.seconds:.0f} s, won by the first {tally.wins[0]}, by the second "
                f"{tally.wins[1]}, {len(tally.broken)} without exactly one winner\n"
            )
            sys.stdout.writelines(f"  {one}\n" for one in tally.broken[:10])
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
