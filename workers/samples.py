"""Four small functions, and executions of them, that show what an execution is."""

from __future__ import annotations

import threading
from typing import Any

from celery import shared_task

import executions
from executions.execution import Execution

#: Where they go.
QUEUE = "samples"

#: Seconds that one sample may take in all before `run_samples` goes on without its end.
WAIT_S = 30.0


def _work(seconds: float) -> None:
    """Stand in for real work."""
    threading.Event().wait(seconds)


@shared_task(name="samples.train", execution_timeout=60)
def train(dataset: str, epochs: int = 5, seconds: float = 0.2) -> dict[str, Any]:
    """Report progress and a metric after each epoch; stop at the next one when somebody asks for it."""
    loss = 1.0
    for epoch in range(epochs):
        executions.checkpoint()
        _work(seconds)
        loss *= 0.7
        executions.log_metric("loss", loss, step=epoch)
        executions.progress(100 * (epoch + 1) / epochs, f"epoch {epoch + 1} of {epochs}: loss={loss:.3f}")
        print(f"{dataset}: epoch {epoch + 1}, loss {loss:.3f}")
    return {"dataset": dataset, "loss": round(loss, 3)}


@shared_task(name="samples.crawl", execution_timeout=1, on_reset="rerun", max_attempts=5)
def crawl(pages: int = 4) -> int:
    """Be too slow for the time limit at first, and go on from the saved page in the next attempt."""
    first = executions.load_state() or 0
    for page in range(first, pages):
        executions.checkpoint()
        _work(0.4)
        executions.save_state(page + 1)
        executions.progress(100 * (page + 1) / pages, f"page {page + 1} of {pages}")
    return pages


@shared_task(name="samples.fetch", max_attempts=3, retry_on=(ConnectionError,), backoff_delay=0.2)
def fetch(url: str, failures: int = 1) -> str:
    """Fail as a network does, and succeed when tried again."""
    failed = executions.load_state() or 0
    if failed < failures:
        executions.save_state(failed + 1)
        raise ConnectionError(f"{url} did not answer")
    return f"the page at {url}"


@shared_task(name="samples.divide", execution_timeout=10)
def divide(dividend: float, divisor: float) -> float:
    """Fail for good when the divisor is nought."""
    return dividend / divisor


def run_samples(client: executions.Client) -> list[Execution]:
    """Run each kind of execution once and give them as they ended."""
    progress = client.submit("samples.train", "digits", tags=["sample"], queue=QUEUE)
    stopped = client.submit("samples.train", "wrong-data", epochs=500, tags=["sample"], queue=QUEUE)
    slow = client.submit("samples.crawl", tags=["sample"], queue=QUEUE)
    flaky = client.submit("samples.fetch", "the-shop", tags=["sample"], queue=QUEUE)
    # Stopped once it runs: before that it would be taken off the queue, and reach no checkpoint.
    stopped.wait(timeout=WAIT_S, until="started").terminate(cause="a sample of how to stop an execution")
    return [execution.wait(timeout=WAIT_S) for execution in (progress, stopped, slow, flaky)]
