"""The functions that a chaos run executes. Each tells a ledger outside of our system what it does, as it does it."""

from __future__ import annotations

import os
import resource
import signal
import threading

from celery import Celery

import executions
from tests.chaos.ledger import Writer

ENVIRON = os.environ  # noqa: TID251

app = Celery("chaos", broker=ENVIRON["CHAOS_BROKER"], set_as_current=False)
client = executions.install(app, registry=ENVIRON["CHAOS_REGISTRY"])
app.conf.update(
    task_default_queue="chaos",
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    worker_prefetch_multiplier=2,
    task_acks_late=True,
)
app.set_default()

#: Seconds between two lines of the ledger: what a stop that was confirmed must end.
TICK_S = 0.05

#: Bytes that each `mark` leaves behind, for whoever wants to see a soak fail.
LEAK = int(ENVIRON.get("CHAOS_LEAK", "0"))
leaked: list[bytearray] = []

ledger = Writer(ENVIRON["CHAOS_LEDGER"])


def run(seconds: float, *, checks: bool = True) -> str:
    """Take some time, and say so all the while."""
    ledger.write("begin")
    pause = threading.Event()
    for _ in range(max(1, round(seconds / TICK_S))):
        if checks:
            executions.checkpoint()
        pause.wait(TICK_S)
        ledger.write("tick")
    ledger.write("end")
    return "done"


@app.task(on_reset="rerun", max_attempts=50)
def work(seconds: float, *_: object) -> str:
    return run(seconds)


@app.task(on_reset="failed")
def once(seconds: float) -> str:
    """Not to be repeated."""
    return run(seconds)


@app.task(on_reset="rerun", max_attempts=50)
def stubborn(seconds: float) -> str:
    """Comes to no checkpoint."""
    return run(seconds, checks=False)


@app.task(on_reset="rerun", max_attempts=2, execution_timeout=1)
def late(seconds: float) -> str:
    return run(seconds)


@app.task(on_reset="rerun", max_attempts=4, retry_on=["ValueError"], backoff_delay=1)
def shaky(seconds: float, failures: int) -> str:
    run(seconds)
    current = executions.current()
    if current is None or current.attempt <= failures:
        raise ValueError("not yet")
    return "done"


@app.task(on_reset="rerun", max_attempts=2)
def hungry() -> str:
    """Ask for more memory than there is, and be killed for it as the system would do."""
    ledger.write("begin")
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, before[1]))
    try:
        return str(len(bytearray(1 << 31)))
    except MemoryError:
        os.kill(os.getpid(), signal.SIGKILL)
        raise


@app.task(on_reset="rerun", max_attempts=50)
def canary() -> str:
    return "alive"


@app.task(on_reset="rerun", max_attempts=50)
def mark(number: int) -> int:
    """Leave one line, and take no time."""
    ledger.write("begin")
    print(number)
    if LEAK:
        leaked.append(bytearray(LEAK))
    return number


class Press(executions.ServiceRunner):
    """A service that runs two at once, across the fleet."""

    def press(self, seconds: float) -> str:
        return run(seconds)


client.services.deploy(Press, name="press", concurrency=2, on_reset="rerun", max_attempts=50, queue="chaos")
