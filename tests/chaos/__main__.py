"""`python -m tests.chaos`: a fleet under a storm of faults; the promises must hold when it is over.

The seed decides what happens and when. The system itself is not deterministic, so a seed brings back the storm
and not each interleaving: run one that failed several times.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos.backends import BACKENDS
from tests.chaos.fleet import POOLS, Fleet
from tests.chaos.plan import make_plan
from tests.chaos.storm import Storm, show


def parse(given: list[str] | None = None) -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the storm; quiet comes after it")
    parser.add_argument("--seed", type=int, default=None, help="what a run that failed has printed")
    parser.add_argument("--backend", choices=BACKENDS, default="valkey")
    parser.add_argument("--shards", type=int, default=None, help="4 unless said otherwise, 16 on a cluster")
    parser.add_argument("--pools", default=",".join(POOLS), help="one worker for each, in this order")
    parser.add_argument("--faults", type=float, default=0.8, help="faults in a second")
    parser.add_argument("--work", type=float, default=6.0, help="submits in a second")
    parser.add_argument("--keep", action="store_true", help="keep logs and ledger of a run that went well")
    return parser.parse_args(given)


def again(options: argparse.Namespace) -> str:
    """Give the command that brings this storm back."""
    said = {name: value for name, value in sorted(vars(options).items()) if name != "keep"}
    return f"make chaos ARGS={shlex.quote(' '.join(f'--{name} {value}' for name, value in said.items()))}"


def main(given: list[str] | None = None) -> int:
    """Run once; 0 where every promise held."""
    options = parse(given)
    make, shards = BACKENDS[options.backend]
    options.seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    options.shards = options.shards or shards
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{options.seed}-"))
    sys.stdout.write(f"{again(options)}\nin {folder}\n")
    fleet = Fleet(folder, make(folder), options.shards)
    try:
        os.environ.update(fleet.environ(fleet.backend.ports))  # noqa: TID251
        storm = Storm(fleet, lambda text: print(text, flush=True))
        fleet.grow(options.pools.split(","))
        plan = make_plan(options.seed, options.seconds, faults_per_s=options.faults, work_per_s=options.work)
        outcome = storm.run(plan)
    finally:
        fleet.stop()
    show(outcome, folder)
    sys.stdout.write(f"again: {again(options)}\n")
    if not outcome.broken and not options.keep:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if outcome.broken else 0


if __name__ == "__main__":
    sys.exit(main())
