"""Functions for the stories of test_rows.py: they tell about themselves, stop half-way, resume."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from shop import ShopError, app, block, touch, wait_for  # type: ignore[import-not-found]

import executions

__all__ = ["app"]


@app.task
def steps(path: str, go_on: str) -> list[int]:
    """Write five steps with a checkpoint before each; wait for the test within the second."""
    for step in range(1, 6):
        executions.checkpoint()
        with open(path, "a") as file:
            file.write(f"begin {step}\n")
        if step == 2:
            wait_for(go_on)
        with open(path, "a") as file:
            file.write(f"end {step}\n")
    return [1, 2, 3, 4, 5]


@app.task
def cleans_up(marks: str) -> None:
    """Save work, then go on until stopped, and clean up."""
    executions.save_state({"done": 7})
    try:
        with tempfile.NamedTemporaryFile() as temporary:
            Path(marks).write_text(temporary.name)
            while True:
                block(0.01)
                executions.checkpoint()
    finally:
        touch(f"{marks}.cleaned")


@app.task
def tells(go_on: str) -> dict[str, Any] | None:
    """Say everything that a function can say of itself."""
    executions.progress(40, "Epoch 40")
    executions.Progress().update(message="still epoch 40")
    executions.set_property("learning_rate", 0.001)
    executions.add_tag("told")
    for step in range(3):
        executions.log_metric("loss", 1 / (step + 1), step=step)
    executions.Progress().update(output={"k": 1})
    wait_for(go_on)
    return None


@app.task
def out_of_bounds(percent: float) -> None:
    executions.progress(percent)


@app.task
def full() -> str:
    executions.progress(100)
    return "after a hundred"


@app.task(retry_on=(ShopError,), backoff_delay=0, max_attempts=3)
def resumes(path: str) -> int:
    """Fail at epoch 7, go on at epoch 8."""
    first = executions.load_state(0)
    for epoch in range(first, 12):
        touch(path)
        executions.save_state(epoch + 1)
        if epoch == 7 and first == 0:
            raise ShopError("lost power")
    return first


@app.task
def sees_the_version(path: str) -> str:
    return Path(path).read_text()


@app.task
def works(seconds: float = 0.3) -> int:
    """Use some CPU time."""
    total = 0
    while (now := executions.current()) and total < 3_000_000 * seconds:
        total += len(now.id) // 36
    return total
