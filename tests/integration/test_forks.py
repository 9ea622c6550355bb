"""Children that are forked while another thread of their parent is in the middle of something."""

from __future__ import annotations

import subprocess
import sys

#: A process of its own: one that has threads is forked.
FORK = """
import os, signal, threading
from celery import Celery
from workers.bootsteps.forks import renew_locks

renew_locks()
app, looks, go_on = Celery("app", set_as_current=False), threading.Event(), threading.Event()

def look():
    with vars(Celery)["tasks"].lock:
        looks.set()
        go_on.wait()

threading.Thread(target=look, daemon=True).start()
looks.wait()
child = os.fork()
if child == 0:
    signal.alarm(10)
    os._exit(0 if app.tasks else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_child_is_not_held_by_a_thread_of_its_parent_that_looks_at_the_app() -> None:
    # Given a process that is forked while a thread looks at the app. I expect the child to see the app as well
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == "0", done.stdout + done.stderr
