"""`python -m tests.chaos.reconnect`: does every worker consume again soon after its server was away?

A round is one fault: the server ends and comes back, connections are cut three times, or nothing passes any more and
nobody says so. When it is over each worker gets an execution of its own, through a queue that only it consumes, and has
15 seconds to have run it, whether by itself or by ending and being started anew. It fails if one takes longer.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import secrets
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

from executions import Client, connect
from tests.chaos.backends import BACKENDS
from tests.chaos.fleet import POOLS, Fleet, Member
from workers.local.waiting import wait_until

#: Seconds from the end of a fault until every worker has to have run something, and until nobody waits any longer.
SOON_S, PATIENCE_S = 15.0, 120.0

#: Seconds that a server is away, that pass between cuts, and that nothing passes: mostly, and once in a while.
AWAY_S, BETWEEN_S, SILENT_S, LONG_SILENT_S = (0.0, 5.0), (0.5, 1.5), (2.0, 8.0), 60.0

#: How often a silence is a long one.
LONG = 0.1


class Rounds:
    """One fleet, one fault after the other."""

    def __init__(self, fleet: Fleet, client: Client, rng: random.Random) -> None:
        self.fleet, self.client, self._rng = fleet, client, rng
        #: By fault: the seconds that the slowest worker of a round took.
        self.took: dict[str, list[float]] = defaultdict(list)
        self.late: list[str] = []
        self._pause = threading.Event()
        self._faults: dict[str, Callable[[], None]] = {
            "restart": self._restart, "kill": self._kill, "cuts": self._cuts, "silence": self._silence,
        }  # fmt: skip

    def one(self, number: int) -> None:
        """Go through one round, and say how it was."""
        what = self._rng.choice(list(self._faults))
        self._faults[what]()
        over = time.monotonic()
        sent = {
            member.name: self.client.submit("tests.chaos.app.mark", number, queue=f"canary.{member.name}").id
            for member in self.fleet.members
        }
        ran: dict[str, float] = {}

        def have_run() -> bool:
            self.fleet.mend()
            for name in sent.keys() - ran.keys():
                if self.client.executions.get(sent[name]).status == "success":
                    ran[name] = time.monotonic() - over
            return len(ran) == len(sent)

        wait_until(have_run, PATIENCE_S)
        slow = {name: ran.get(name, float("inf")) for name in sent}
        self.took[what].append(max(slow.values()))
        self.late += [
            f"round {number}, {what}: {name} after {seconds:.1f} s"
            for name, seconds in slow.items()
            if seconds > SOON_S
        ]
        self._say(f"{number:4} {what:8} " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in slow.items()))

    def _restart(self) -> None:
        self._away(hard=False)

    def _kill(self) -> None:
        self._away(hard=True)

    def _away(self, *, hard: bool) -> None:
        server = self._rng.choice(self.fleet.backend.servers)
        server.halt(hard=hard)
        self._pause.wait(self._rng.uniform(*AWAY_S))
        server.start()

    def _cuts(self) -> None:
        for _ in range(3):
            self._pause.wait(self._rng.uniform(*BETWEEN_S))
            self._each(lambda member: [proxy.cut() for proxy in member.proxies])

    def _silence(self) -> None:
        is_long = self._rng.random() < LONG
        self._each(lambda member: [proxy.silence(True) for proxy in member.proxies])
        self._pause.wait(LONG_SILENT_S if is_long else self._rng.uniform(*SILENT_S))
        self._each(Member.heal)

    def _each(self, do: Callable[[Member], object]) -> None:
        for member in self.fleet.members:
            do(member)

    def verdict(self) -> str:
        """Tell how long it took, by fault."""
        lines = []
        for what, took in sorted(self.took.items()):
            in_order = sorted(took)
            p95 = in_order[math.ceil(0.95 * len(in_order)) - 1]
            lines.append(
                f"{what}: {len(took)} rounds, all consumed again after {statistics.median(took):.1f} s (median), "
                f"{p95:.1f} s (p95), {in_order[-1]:.1f} s (most)"
            )
        starts = Counter({member.name: member.starts - 1 for member in self.fleet.members})
        lines += [f"started anew: {dict(starts)}", f"later than {SOON_S:.0f} s: {'; '.join(self.late) or 'none'}"]
        return "\n".join(lines)

    @staticmethod
    def _say(text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def options_of(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.reconnect", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--backend", choices=sorted(BACKENDS), default="valkey")
    parser.add_argument("--pools", default=",".join(POOLS))
    return parser.parse_args(given)


def main() -> int:
    """Run so many rounds; 0 where every worker consumed again in time."""
    options = options_of()
    folder = Path(tempfile.mkdtemp(prefix=f"reconnect-{options.seed}-"))
    make, shards = BACKENDS[options.backend]
    fleet = Fleet(folder, make(folder), shards)
    try:
        environ = fleet.environ(fleet.backend.ports)
        os.environ.update(environ)  # noqa: TID251
        with connect(environ["CHAOS_REGISTRY"], broker=environ["CHAOS_BROKER"]) as client:
            fleet.grow(options.pools.split(","))
            fleet.wait_ready(client)
            rounds = Rounds(fleet, client, random.Random(options.seed))
            for number in range(options.rounds):
                rounds.one(number)
            sys.stdout.write(f"seed {options.seed}\n{rounds.verdict()}\n")
            return 1 if rounds.late else 0
    finally:
        fleet.stop()


if __name__ == "__main__":
    sys.exit(main())
