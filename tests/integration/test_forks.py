"""Children that are forked while another thread of their parent is in the middle of something."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: A process of its own: one that has threads is forked. `held` is what a thread holds meanwhile, `use` what needs it.
FORK = """
import os, queue, signal, threading
import celery._state, redis
from celery import Celery
from workers.bootsteps.forks import renew_locks

# What another hook lets go of in the child is passed by
celery._state.gone = threading.Lock()
os.register_at_fork(after_in_child=lambda: setattr(celery._state, "gone", None))
renew_locks()
app, holds, go_on = Celery("app", set_as_current=False), threading.Event(), threading.Event()
pool, jobs = redis.ConnectionPool(), queue.LifoQueue()
changed, owned = threading.Condition(), threading.RLock()
celery._state.ours, pool.ours = threading.Lock(), owned

def hold():
    with {held}:
        holds.set()
        go_on.wait()

threading.Thread(target=hold, daemon=True).start()
holds.wait()
with owned:
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        {use}
        os._exit(0 if pool.ours is owned else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize(
    ("held", "use"),
    [
        ('vars(Celery)["tasks"].lock', "app.tasks"),
        ("pool._lock", "pool.reset()"),
        ("pool._fork_lock", "pool._checkpid()"),
        ("jobs.mutex", "jobs.put(1), jobs.get()"),
        ("changed", "with changed: changed.notify_all()"),
        ("celery._state.ours", "with celery._state.ours: pass"),
    ],
    ids=["a cached property", "a pool", "a pool that forks", "a queue", "a condition", "a lock of a module"],
)
def test_a_child_is_not_held_by_what_a_thread_of_its_parent_was_doing(held: str, use: str) -> None:
    # Given a process that is forked while a thread of it holds a lock, and the forking one another. I expect the child
    # to go on where it needs the first, and to find the other as it was
    code = FORK.replace("{held}", held).replace("{use}", use)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == "0", done.stdout + done.stderr
