"""What runs on the floor: functions whose executions make pages worth looking at."""

from __future__ import annotations

import logging
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

from celery import Celery

import executions
from executions import ServiceRunner

ENVIRON = os.environ  # noqa: TID251

#: Functions that take time are what these pages are about.
block = time.sleep  # noqa: TID251

logger = logging.getLogger("floor")

app = Celery("floor", broker=ENVIRON["FLOOR_BROKER"], set_as_current=False)
client = executions.install(app)
app.conf.update(
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=1,
    task_routes={"media.*": {"queue": "media"}, "models.*": {"queue": "gpu"}},
)


class OutOfStock(Exception):
    """There is nothing left of it."""


@app.task(name="orders.charge", tags=["money"])
def charge(order: int, amount: float, currency: str = "EUR") -> dict[str, Any]:
    """Take the money for an order."""
    logger.info("charging order %s: %.2f %s", order, amount, currency)
    if amount < 0:
        logger.error("refused: the amount is negative")
        raise ValueError(f"order {order}: amount {amount} is negative")
    return {"order": order, "charged": amount, "currency": currency}


@app.task(name="orders.reserve")
def reserve(item: str, count: int = 1) -> str:
    """Put items of an order aside."""
    if item == "lamp":
        raise OutOfStock(f"{item}: {count} wanted, 0 there")
    return f"{count} x {item}"


@app.task(name="media.transcode")
def transcode(video: str, quality: str = "720p", seconds: float = 0.05) -> dict[str, Any]:
    """Turn a video into another size."""
    for step in range(5):
        executions.progress(20 * step, f"{quality}: part {step + 1} of 5")
        block(seconds / 5)
        executions.checkpoint()
    return {"video": video, "quality": quality, "size_mb": 48.2}


@app.task(name="models.train", execution_timeout=3600, tags=["nightly"], pipeline="recommender", stage="train")
def train(dataset: str, epochs: int = 20, learning_rate: float = 0.001) -> dict[str, Any]:
    """Fit the model to a data set."""
    executions.set_property("learning_rate", learning_rate)
    executions.set_property("optimizer", {"name": "adam", "betas": [0.9, 0.999]})
    print(f"\x1b[1mtraining on {dataset}\x1b[0m, {epochs} epochs")
    for epoch in range(epochs):
        loss = math.exp(-epoch / 6) + 0.08 * math.sin(epoch)
        executions.log_metric("loss", round(loss, 4), step=epoch)
        executions.log_metric("accuracy", round(1 - loss / 1.2, 4), step=epoch)
        executions.progress(100 * epoch / epochs, f"epoch {epoch + 1}: loss={loss:.3f}")
        print(f"epoch {epoch + 1:>2}  \x1b[36mloss\x1b[0m {loss:.4f}  \x1b[32maccuracy\x1b[0m {1 - loss / 1.2:.4f}")
        if epoch == 7:
            logger.warning("the loss went up; learning rate halved")
        executions.checkpoint()
    return {"loss": round(loss, 4), "epochs": epochs}


@app.task(name="feeds.sync", retry_on=(ConnectionError,), backoff_delay=0.05, max_attempts=3)
def sync(feed: str, succeed_at: int = 2) -> int:
    """Read a feed of somebody else's."""
    now = executions.current()
    attempt = now.attempt if now else 1
    logger.info("attempt %s on %s", attempt, feed)
    if attempt < succeed_at:
        raise ConnectionError(f"{feed}: connection reset by peer")
    return 1280


@app.task(name="reports.build")
def build(until: str, day: str = "today") -> str:
    """Go on until the test makes a file; stop at each checkpoint."""
    logger.info("building the report of %s", day)
    executions.progress(40, "reading orders")
    for turn in range(6000):
        if Path(until).exists():
            return "built"
        if turn % 25 == 0:
            print(f"row {turn * 40} read")
        block(0.02)
        executions.checkpoint()
    return "too long"


@app.task(name="reports.chatter")
def chatter(lines: int) -> None:
    """Write many lines."""
    for number in range(lines):
        print(f"line {number} of {lines}: the quick brown fox" if number % 997 else f"\x1b[31mneedle {number}\x1b[0m")
    print("the end", file=sys.stderr)


class Importer(ServiceRunner):
    """Reads files into the catalogue."""

    def load(self, path: str) -> int:
        return len(path)

    def check(self, path: str, strict: bool = False) -> bool:
        return strict or bool(path)


client.services.deploy(Importer, name="importer", concurrency=2, execution_timeout=600)
client.services.deploy(Importer, name="archive", queue="media", on_reset="rerun", max_attempts=2)
