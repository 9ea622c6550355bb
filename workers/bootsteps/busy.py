"""Which children have work, remembered over a broken connection.

When the connection to the broker breaks, Celery's prefork pool lets go of every message that no child has said to have
begun, and takes those children for free (before Celery 5.6: all children). A child still runs what had been written
to it, so the next message might be written behind it: then it waits for that one's end, however many others are idle.
"""

from __future__ import annotations

from typing import Any


def remember_busy_children(pool: Any) -> None:
    """Have a prefork pool keep children busy that have work, whatever it forgets of that."""
    processes: Any = getattr(pool, "_pool", None)
    forget = getattr(pool, "flush", None)
    if forget is None or not hasattr(processes, "_busy_workers"):
        return

    def flush() -> None:
        busy = _with_work(processes)
        forget()
        # One that has died has another in its place by now, with the same descriptor and without the work.
        there = {id(child) for child in processes._pool if child._is_alive()}
        processes._busy_workers.update(child.inqW_fd for child in busy if id(child) in there)

    pool.flush = flush


def _with_work(processes: Any) -> list[Any]:
    """Give the children that something was written to and that have not answered yet."""
    jobs = [job for job in processes._cache.values() if not getattr(job, "_write_to", None)]
    unwritten = {job._scheduled_for.inqW_fd for job in jobs if getattr(job, "_scheduled_for", None)}
    fds = processes._busy_workers - unwritten
    return [child for child in processes._pool if child.inqW_fd in fds]
