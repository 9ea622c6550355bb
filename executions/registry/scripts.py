"""The Lua scripts: read once from their files, run by their hash, sent again where the server forgot them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, TypeAlias

from redis.exceptions import NoScriptError

from executions.registry.connection import RedisClient

#: The keys and arguments of one run of a script.
Call: TypeAlias = tuple[tuple[str, ...], tuple[Any, ...]]

_FOLDER = files(__package__) / "lua"
_PRELUDE = (_FOLDER / "_prelude.lua").read_text()


@dataclass(frozen=True)
class Script:
    """One script file, with the prelude where it changes an execution."""

    name: str
    text: str
    sha: str

    def __call__(self, client: RedisClient, keys: tuple[str, ...], args: tuple[Any, ...]) -> Any:
        """Run the script in one round trip (two where the server does not know it yet)."""
        try:
            return client.evalsha(self.sha, len(keys), *keys, *args)
        except NoScriptError:
            return client.eval(self.text, len(keys), *keys, *args)

    def before(
        self, client: RedisClient, keys: tuple[str, ...], args: tuple[Any, ...], then: Callable[[Any], Any]
    ) -> list[Any]:
        """Run the script and then other commands, in this order and in one round trip; give all replies."""
        pipeline = client.pipeline(transaction=False)
        self.queue(pipeline, keys, args)
        then(pipeline)
        replies: list[Any] = pipeline.execute(raise_on_error=False)
        if isinstance(replies[0], NoScriptError):
            replies[0] = client.eval(self.text, len(keys), *keys, *args)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    def many(self, client: RedisClient, calls: Sequence[Call]) -> list[Any]:
        """Run the script many times in one round trip (three where the server does not know it yet)."""
        try:
            return self._pipelined(client, calls)
        except NoScriptError:
            self.ensure(client)
            return self._pipelined(client, calls)

    def _pipelined(self, client: RedisClient, calls: Sequence[Call]) -> list[Any]:
        pipeline = client.pipeline(transaction=False)
        for keys, args in calls:
            self.queue(pipeline, keys, args)
        replies: list[Any] = pipeline.execute()
        return replies

    def queue(self, pipeline: Any, keys: tuple[str, ...], args: tuple[Any, ...]) -> None:
        """Add the script to a pipeline; the caller makes sure that the server knows it (`ensure`)."""
        # By its general method: the one of this name is closed on a cluster, where all keys of ours share a slot.
        pipeline.execute_command("EVALSHA", self.sha, len(keys), *keys, *args)

    def ensure(self, client: RedisClient) -> None:
        """Make the server know the script."""
        client.script_load(self.text)


def _read(name: str, *, prelude: bool = True) -> Script:
    body = (_FOLDER / f"{name}.lua").read_text()
    text = _strip(f"{_PRELUDE}\n{body}" if prelude else body)
    return Script(name, text, hashlib.sha1(text.encode()).hexdigest())


def _strip(text: str) -> str:
    """Leave out whole-line comments: the server keeps each script's text in memory."""
    return re.sub(r"^\s*--.*\n", "", text, flags=re.MULTILINE)


READ = _read("read", prelude=False)
VALUE_CHECK = _read("value_check")
SUBMIT = _read("submit")
START = _read("start")
FINISH = _read("finish")
SETTLE = _read("settle")
TERMINATE = _read("terminate")
RETRY = _read("retry")
RERUN = _read("rerun")
PARK = _read("park")
SUPPLY = _read("supply")
ANNOTATE = _read("annotate")
EDIT = _read("edit")
NOTE = _read("note")
DUE = _read("due")
DUE_SENT = _read("due_sent", prelude=False)
PRUNE = _read("prune")
BEAT = _read("beat", prelude=False)
CONDEMN = _read("condemn", prelude=False)
LEAD = _read("lead", prelude=False)
UNLEAD = _read("unlead", prelude=False)
SWEEP = _read("sweep")
CATALOGUE_TELL = _read("catalogue_tell", prelude=False)
MEND = _read("mend")
RECOUNT = _read("recount")
BULK_OPEN = _read("bulk_open", prelude=False)
BULK_CLAIM = _read("bulk_claim", prelude=False)
BULK_STEP = _read("bulk_step", prelude=False)
BULK_CANCEL = _read("bulk_cancel", prelude=False)
SERVICE_WRITE = _read("service_write", prelude=False)
SERVICE_ENTER = _read("service_enter", prelude=False)
SERVICE_LEAVE = _read("service_leave", prelude=False)
SERVICE_RECLAIM = _read("service_reclaim", prelude=False)
SERVICE_REMOVE = _read("service_remove", prelude=False)
VIEW_WRITE = _read("view_write", prelude=False)
FETCH = _read("fetch", prelude=False)
GIVE_BACK = _read("give_back", prelude=False)
REQUEUE = _read("requeue", prelude=False)
