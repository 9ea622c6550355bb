"""Locks that a child process must not inherit.

kombu's `cached_property` takes a lock that all instances share, and does so at every look, not just the first. A child
that is forked while another thread of its parent looks at `app.tasks` would wait there for ever: it lives, and takes no
job. Our threads look at such properties all the time, so each child gets new locks before anything else.
"""

from __future__ import annotations

import functools
import gc
import os
import threading
from typing import Any

_found: list[Any] = []
_parent = 0


def renew_locks() -> None:
    """Have all children of this process begin with locks that nobody holds."""
    global _parent
    if not _parent:
        os.register_at_fork(before=_find, after_in_child=_renew)
    _parent = os.getpid()


def _find() -> None:
    """Find them before the fork: to look at all objects in the child would copy the memory that both share."""
    # Not what a function forks: nothing of Celery runs there.
    if os.getpid() == _parent:
        # By the type itself: asking a proxy for its class may compute what it stands for.
        _found[:] = [one for one in gc.get_objects() if issubclass(type(one), functools.cached_property)]


def _renew() -> None:
    for one in _found:
        # Python's own have none from 3.12 on; kombu's always do.
        if hasattr(one, "lock"):
            one.lock = threading.RLock()
    _found.clear()
