"""An app as its users have it: tasks of every kind that Celery knows, in one module that workers import too."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from celery import Celery, Task, chord, shared_task
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from celery.utils.log import get_task_logger
from pydantic import BaseModel

import executions

ENVIRON = os.environ  # noqa: TID251

#: Code that blocks is what these tests are about.
block = time.sleep  # noqa: TID251

logger = get_task_logger(__name__)

#: Where a broker of files keeps its messages.
_FOLDER = f"{ENVIRON.get('SHOP_FOLDER')}/messages"
FOLDERS = {"data_folder_in": _FOLDER, "data_folder_out": _FOLDER, "control_folder": f"{_FOLDER}/control"}
if not ENVIRON.get("SHOP_BROKER", "").startswith("filesystem"):
    FOLDERS = {}

app = Celery("shop", broker=ENVIRON.get("SHOP_BROKER", "redis://127.0.0.1:6379/0"), set_as_current=False)


@app.task
def before_install(x: int) -> int:
    return x + 1


client = executions.install(app, registry=ENVIRON.get("SHOP_REGISTRY"))
app.conf.update(
    result_backend=ENVIRON.get("SHOP_BACKEND"),
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=True,
    worker_send_task_events=True,
    task_send_sent_event=True,
    worker_prefetch_multiplier=1,
    task_default_queue=ENVIRON.get("SHOP_QUEUE", "celery"),
    task_default_queue_type=ENVIRON.get("SHOP_QUEUE_TYPE", "classic"),
    broker_transport_options={"visibility_timeout": 3600} | FOLDERS,
    beat_schedule={"tick": {"task": "shop.add", "schedule": 0.5, "args": (20, 3)}} if ENVIRON.get("SHOP_BEAT") else {},
)
app.set_default()


class ShopError(Exception):
    """An error of the shop's own."""


class Unpicklable(Exception):
    """Takes other arguments than it gives to its base, and holds what cannot be pickled."""

    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.lock = threading.Lock()


class Unprintable(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text today")

    __repr__ = __str__


def touch(path: str) -> None:
    """Leave a line for the test to count."""
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\n")


# Functions that do as they are told ----------------------------------------------------------------------


@app.task
def add(x: Any, y: Any) -> Any:
    return x + y


@app.task
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task
def echo(*args: Any, **kwargs: Any) -> Any:
    return {"args": list(args), "kwargs": kwargs}


@app.task
def mark(path: str, value: Any = None) -> Any:
    """Count runs in a file."""
    touch(path)
    return value


@app.task(acks_late=True)
def mark_late(path: str, value: Any = None) -> Any:
    touch(path)
    return value


@app.task(bind=True)
def whoami(self: Task) -> dict[str, Any]:
    request = self.request
    now = executions.current()
    return {
        "id": request.id,
        "retries": request.retries,
        "root": request.root_id,
        "parent": request.parent_id,
        "headers": {k: v for k, v in (request.headers or {}).items() if k.startswith("x-")},
        "priority": (request.delivery_info or {}).get("priority"),
        "attempt": now.attempt if now else None,
        "stamps": request.stamps,
        "argsrepr": request.argsrepr,
        "kwargsrepr": request.kwargsrepr,
    }


@app.task(ignore_result=True)
def forgettable(x: int) -> int:
    return x


@shared_task
def shared(x: int) -> int:
    return x * 2


class Counter(Task):
    """A class-based task with state and hooks."""

    name = "shop.Counter"
    seen: list[str] = []

    def run(self, path: str) -> int:
        touch(path)
        return 7

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        touch(f"{args[0]}.success")

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        touch(f"{args[0]}.return")


counter = app.register_task(Counter())


class Called(Task):
    """A base with a `__call__` of its own."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return {"wrapped": super().__call__(*args, **kwargs)}


@app.task(base=Called)
def called(x: int) -> int:
    return x


@app.task(base=Task)
def plain_base(x: int) -> int:
    return x


class Order(BaseModel):
    item: str
    count: int = 1


@app.task(pydantic=True)
def order(wanted: Order) -> Order:
    return Order(item=wanted.item.upper(), count=wanted.count + 1)


# Canvas --------------------------------------------------------------------------------------------------


@app.task(bind=True)
def spawn(self: Task, n: int) -> list[str]:
    return [add.delay(i, i).id for i in range(n)]


@app.task(bind=True)
def replaced(self: Task, x: int) -> Any:
    return self.replace(add.s(x, 100))


@app.task(bind=True)
def replaced_by_chord(self: Task, n: int) -> Any:
    return self.replace(chord((add.s(i, 1) for i in range(n)), total.s()))


@app.task(bind=True)
def nested(self: Task, path: str) -> Any:
    """Calls another task eagerly, and as the plain function that it is."""
    touch(path)
    return add(1, 2) + add.apply((3, 4)).get(disable_sync_subtasks=False)


@app.task
def on_error(request: Any, exc: Any, traceback: Any) -> None:
    touch(f"{ENVIRON['SHOP_FOLDER']}/errback-{request.id}")


@app.task
def on_error_id(task_id: str) -> None:
    touch(f"{ENVIRON['SHOP_FOLDER']}/errback-{task_id}")


@app.task
def on_link(result: Any, path: str) -> Any:
    touch(path)
    return result


# Ends ----------------------------------------------------------------------------------------------------


@app.task
def fail(text: str = "boom") -> None:
    raise ValueError(text)


@app.task
def fails_until(path: str) -> None:
    if not Path(path).exists():
        raise ShopError("not yet")


@app.task
def fail_own(text: str = "sold out") -> None:
    raise ShopError(text, 42)


@app.task(bind=True, max_retries=2)
def flaky(self: Task, succeed_at: int, countdown: float = 0) -> int:
    now = executions.current()
    attempt = now.attempt if now else 1
    if attempt < succeed_at:
        try:
            raise ShopError(f"try {attempt}")
        except ShopError as error:
            raise self.retry(exc=error, countdown=countdown) from error
    return attempt


@app.task(autoretry_for=(ShopError,), retry_backoff=0.01, retry_jitter=False, max_retries=3)
def autoflaky(path: str, succeed_at: int) -> int:
    touch(path)
    runs = len(Path(path).read_text().splitlines())
    if runs < succeed_at:
        raise ShopError(f"run {runs}")
    return runs


@app.task(retry_on=(ShopError,), give_up_on=("KeyError",), backoff_delay=0.01, max_attempts=3)
def policy_flaky(path: str, succeed_at: int, error: str = "ShopError") -> int:
    touch(path)
    runs = len(Path(path).read_text().splitlines())
    if runs < succeed_at:
        raise {"ShopError": ShopError, "KeyError": KeyError, "ValueError": ValueError}[error](f"run {runs}")
    return runs


@app.task
def ignored() -> None:
    raise Ignore


@app.task(acks_late=True)
def rejected(requeue: bool, path: str) -> str:
    touch(path)
    if requeue and len(Path(path).read_text().splitlines()) > 1:
        return "second"
    raise Reject("not today", requeue=requeue)


@app.task
def die(how: str, path: str) -> str:
    """End the process, one way or another."""
    touch(path)
    if how == "kill":
        os.kill(os.getpid(), 9)
    elif how == "exit":
        os._exit(3)
    elif how == "sys":
        sys.exit(4)
    elif how == "sysok":
        sys.exit(0)
    elif how == "base":
        raise BaseException("base")
    elif how == "keyboard":
        raise KeyboardInterrupt
    elif how == "generator":
        raise GeneratorExit
    elif how == "memory":
        raise MemoryError("none is left")
    return "survived"


@app.task
def devour(path: str, group: str) -> None:
    """Take memory without end, in a control group that has little, or under a limit of the process's own."""
    touch(path)
    if group:
        Path(group, "cgroup.procs").write_text(str(os.getpid()))
    else:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, resource.getrlimit(resource.RLIMIT_AS)[1]))
    taken = []
    while True:
        taken.append(bytearray(10_000_000))


@app.task
def loses_its_folder(folder: str, size: int) -> str:
    """Take away the process's working directory, and give back something large."""
    os.makedirs(folder)
    os.chdir(folder)
    os.rmdir(folder)
    return "x" * size


@app.task(on_reset="rerun", max_attempts=2)
def die_once(path: str, lives: int = 2) -> str:
    touch(path)
    if len(Path(path).read_text().splitlines()) < lives:
        os.kill(os.getpid(), 9)
    return "survived"


@app.task(acks_late=True, reject_on_worker_lost=True)
def die_late(path: str) -> str:
    touch(path)
    if len(Path(path).read_text().splitlines()) < 2:
        os.kill(os.getpid(), 9)
    return "survived"


@app.task
def forks(path: str, copy_returns: bool) -> str:
    pid = os.fork()
    touch(path)
    if pid == 0:
        if copy_returns:
            return "from the copy"
        os._exit(0)
    os.waitpid(pid, 0)
    return "from the original"


@app.task
def returns_set() -> Any:
    return {"found": [1, {2, 3}]}


@app.task
def raise_odd(kind: str) -> None:
    if kind == "unpicklable":
        raise Unpicklable(17, reason="no stock")
    if kind == "unprintable":
        raise Unprintable("x")
    if kind == "recursion":
        raise_odd.run(kind)
    if kind == "local":

        class Local(Exception):
            pass

        raise Local("only here")
    if kind == "surrogate":
        raise ValueError("\udcff broken \x00 text")
    if kind == "group":
        raise ExceptionGroup("several", [ValueError("one"), KeyError("two")])
    if kind == "cause":
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ShopError("outer") from error


@app.task(bind=True)
def custom_state(self: Task, path: str) -> str:
    self.update_state(state="BAKING", meta={"percent": 40})
    wait_for(path)
    return "baked"


@app.task
def big(size: int) -> str:
    return "x" * size


@app.task
def length(text: str) -> int:
    return len(text)


@app.task
def secretive(user: str, password: str = "", **more: Any) -> str:
    logger.info("logging in")
    return f"{user}/{password}/{more.get('api_key')}"


@app.task
def fail_secret(password: str) -> None:
    raise ShopError("refused")


@app.task(bind=True, max_retries=1)
def flaky_length(self: Task, text: str) -> list[int]:
    if not self.request.retries:
        raise self.retry(countdown=0)
    return [len(text), self.request.retries + 1]


@app.task
def talks(word: str) -> None:
    print(f"printed {word}")
    logger.info("logged %s", word)


# Stopping ------------------------------------------------------------------------------------------------


def wait_for(path: str) -> None:
    """Wait until the test makes this file, at most a minute."""
    for _ in range(3000):
        if Path(path).exists():
            return
        block(0.02)


@app.task
def hold(path: str) -> str:
    wait_for(path)
    return "released"


@app.task(bind=True)
def hold_and_go_on(self: Task, path: str, how: str) -> Any:
    """Waits, then retries or lets others take its place."""
    if self.request.retries:
        return 3
    wait_for(path)
    if how == "retry":
        raise self.retry(countdown=0)
    return self.replace(add.s(1, 2) if how == "function" else add.s(1, 1) | add.s(1))


@app.task(on_reset="rerun", max_attempts=5)
def held(path: str, go_on: str) -> int:
    """Leave a mark, wait for the test, leave another."""
    touch(path)
    wait_for(go_on)
    touch(f"{path}.end")
    return os.getpid()


@app.task
def checking(seconds: float = 60.0, path: str = "") -> str:
    if path:
        touch(path)
    for _ in range(int(seconds * 100)):
        block(0.01)
        executions.checkpoint()
    return "done"


@app.task
def sleeping(seconds: float = 600.0) -> str:
    block(seconds)
    return "slept"


@app.task
def swallowing(seconds: float = 60.0) -> str:
    """Catches every `Exception` and goes on."""
    for _ in range(int(seconds * 20)):
        try:
            block(0.05)
            executions.checkpoint()
        except Exception:
            logger.info("swallowed")
    return "done"


@app.task
def stubborn(seconds: float = 60.0) -> str:
    """Catches everything and goes on."""
    for _ in range(int(seconds * 20)):
        try:
            block(0.05)
        except BaseException:
            logger.info("swallowed")
    return "done"


@app.task
def holding_lock(seconds: int = 60) -> str:
    """Sleeps in C without letting go of the interpreter lock."""
    ctypes.PyDLL(None).sleep(seconds)
    return "done"


@app.task
def native(path: str, seconds: int) -> int:
    """Leave a mark before and after native code that keeps everything else in its process from running."""
    touch(path)
    ctypes.PyDLL(None).sleep(seconds)
    touch(f"{path}.end")
    return os.getpid()


@app.task
def with_child(path: str) -> int:
    """Waits for a process of its own, which has one too."""
    child = subprocess.Popen(["sh", "-c", "sleep 600 & echo $! > $0; wait", path])
    return child.wait()


@app.task(execution_timeout=1)
def timed(how: str, path: str = "") -> str:
    if path:
        touch(path)
    return {"sleep": sleeping, "swallow": swallowing, "check": checking, "stubborn": stubborn}[how].run(60.0)


@app.task(execution_timeout=1, on_reset="rerun", max_attempts=2)
def timed_rerun(path: str) -> str:
    touch(path)
    return checking.run(60.0)


@app.task(time_limit=1)
def hard_limited() -> str:
    return sleeping.run(60.0)


@app.task(soft_time_limit=1)
def soft_limited(handle: bool, checks: bool = False) -> str:
    try:
        return checking.run(60.0) if checks else sleeping.run(60.0)
    except SoftTimeLimitExceeded:
        if handle:
            return "cleaned up"
        raise


@app.task
async def async_sleep(seconds: float = 600.0) -> str:
    await asyncio.sleep(seconds)
    return "slept"


@app.task
async def async_add(x: int, y: int) -> int:
    await asyncio.sleep(0)
    return x + y


@app.task(execution_timeout=1)
async def async_timed() -> str:
    await asyncio.sleep(60)
    return "slept"


@app.task
def short(milliseconds: int = 5) -> str:
    block(milliseconds / 1000)
    return "ok"


@app.task
def tree(depth: int, width: int = 2) -> str:
    """Start children that start children, then wait for ever."""
    if depth:
        for _ in range(width):
            tree.delay(depth - 1, width)
    return checking.run(60.0)


@app.task
def growing() -> None:
    """Start children without end."""
    while True:
        checking.delay(0.01)


@app.task
def after_install(x: int) -> int:
    logging.getLogger("shop").info("after")
    return x + 2
