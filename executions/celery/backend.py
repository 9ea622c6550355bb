"""The registry as Celery's result backend: the record itself is the stored result.

`Recording` over Celery's Redis backend, without its `GET` and `SETEX`: there is no key besides the record.
"""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

from celery import states
from celery.backends.redis import RedisBackend

from executions import codec
from executions.celery import endings
from executions.celery.chords import is_sent
from executions.celery.consumer import RecordConsumer
from executions.celery.followers import is_awaited, told, upstream_ending
from executions.celery.patience import patiently
from executions.celery.recording import Recording, attempt_of
from executions.celery.site import Site, site_of
from executions.errors import PayloadMissing
from executions.registry import keys
from executions.registry.connection import SOCKET_TIMEOUT_S, translated
from executions.registry.transitions import Missing, Submission
from executions.states import Reason, Status

_CELERY_STATE = {
    Status.PENDING: states.PENDING,
    Status.RUNNING: states.STARTED,
    Status.SUCCESS: states.SUCCESS,
    Status.CACHED: states.SUCCESS,
    Status.FAILED: states.FAILURE,
    Status.TERMINATED: states.REVOKED,
}

#: Fields of the record that make up a result.
_RESULT_FIELDS = ("st", "rs", "out", "or", "er", "tb", "ch", "fi", "cs", "pa", "wk", "sd", "pid")


class RegistryBackend(Recording, RedisBackend):
    """The result backend of an installed app that has configured none."""

    ResultConsumer = RecordConsumer
    supports_result_compression = False

    def __init__(self, app: Any, url: str | None = None, **options: Any) -> None:
        site = site_of(app)
        assert site is not None
        namespace = site.settings.namespace
        self.group_keyprefix = keys.celery_group(namespace)
        self.chord_keyprefix = keys.celery_chord(namespace)
        super().__init__(app=app, url=_backend_url(site), **options)

    def _create_client(self, **params: Any) -> Any:
        space = self.site.space
        if space.address.kind == "server":
            return super()._create_client(**params)
        # Celery knows neither of a cluster nor of our Sentinels' URL.
        return space.own_client(socket_timeout_s=SOCKET_TIMEOUT_S)

    def on_chord_part_return(self, request: Any, state: Any, result: Any, *args: Any, **options: Any) -> None:
        """Count a member of a chord, and say that it is counted: upkeep would do it otherwise.

        Of a failure others may have to hear as well: then that is said by whoever tells the last of them.
        """
        self.count_member(request, state, result, *args, **options)
        if state == states.SUCCESS or not is_awaited(request):
            told(self.site, request.id)

    def count_member(self, request: Any, state: Any, result: Any, *args: Any, **options: Any) -> None:
        """Count a member of a chord, however long the registry is away; whoever is the last sends the body."""
        count, tries = translated(super().on_chord_part_return), itertools.count()

        def once() -> None:
            # The try before may have sent it, and a body that has ended meanwhile would run again.
            if not next(tries) or not is_sent(self.site, request.chord):
                count(request, state, result, *args, **options)

        # A reply that got lost may have been the claim on sending the body, which ends before it is asked for anew.
        claimed_s = 1 + max(5.0, 2 * (self.app.conf.result_chord_join_timeout or 5.0))
        patiently(once, "counting for a chord", claimed_s)

    @translated
    def is_sending(self, group_id: str) -> bool:
        """Whether somebody has claimed the sending of a chord's body, and may have died over it."""
        return self.client.get(self.get_key_for_group(group_id, ".c")) not in (None, b"done")

    def forget_chord(self, group_id: str) -> bool:
        """Drop the counts of a chord whose body is on record: whoever ends again must not send it again."""
        if self.is_sending(group_id):
            return False
        self.client.delete(*(self.get_key_for_group(group_id, part) for part in (".j", ".t", ".s", ".d")))
        return True

    def get_key_for_task(self, task_id: Any, key: Any = "") -> bytes:
        space = self.site.space
        return space.keys(str(task_id)).record(str(task_id)).encode()

    def on_task_call(self, producer: Any, task_id: str) -> None:
        """Subscribe to nothing yet: most callers never wait, and `get()` reads the record first."""

    def _store_result(
        self, task_id: str, result: Any, state: str, traceback: Any = None, request: Any = None, **kwargs: Any
    ) -> None:
        """Store what no transition has stored: custom states, and failures of tasks that never ran."""
        if state in (states.STARTED, states.SUCCESS, states.RETRY, states.REVOKED):
            return
        if state == states.FAILURE:
            # What came with a message has an attempt, and its end is recorded by that.
            if attempt_of(request) is None:
                self._fail_unstarted(task_id, result, request)
            return
        text = codec.encode({"status": state, "result": result}, "meta")
        self.site.transitions.annotate(task_id, None, fields=("cs", text))

    def _fail_unstarted(self, task_id: str, encoded: Any, request: Any) -> None:
        written = codec.encode(encoded)
        ending = upstream_ending(written, "a task before it failed")
        transitions = self.site.transitions
        if isinstance(transitions.settle(task_id, ending), Missing):
            name = getattr(request, "task", None) or "unknown"
            root = getattr(request, "root_id", None)
            transitions.submit(Submission(id=task_id, function=name, inputs="[[],{}]", root_id=root, in_outbox=False))
            transitions.settle(task_id, ending)

    @translated
    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        values = self.site.space.client.hmget(self.get_key_for_task(task_id), _RESULT_FIELDS)
        return self.meta_from_decoded(self._meta(task_id, _text(values)))

    @translated
    def mget(self, record_keys: Any) -> list[str | None]:
        """Read many results at once: those of a group. What is not known is not there."""
        pipeline = self.site.space.client.pipeline(transaction=False)
        for key in record_keys:
            pipeline.hmget(key, _RESULT_FIELDS)
        found = [(_id_of(key), _text(values)) for key, values in zip(record_keys, pipeline.execute(), strict=True)]
        return [codec.encode(self._meta(one, raw)) if raw else None for one, raw in found]

    def _meta(self, task_id: str, raw: dict[str, str]) -> dict[str, Any]:
        meta: dict[str, Any] = {
            "task_id": task_id, "status": states.PENDING, "result": None, "traceback": None, "children": [],
        }  # fmt: skip
        if "st" not in raw:
            return meta
        status = Status(raw["st"])
        meta["status"] = states.RETRY if raw.get("rs") == Reason.RETRYING else _CELERY_STATE[status]
        meta["children"] = codec.decode(raw["ch"]) if "ch" in raw else []
        if status.is_terminal:
            meta["date_done"] = raw.get("fi")
        if status in (Status.SUCCESS, Status.CACHED):
            text = self.site.payloads.get(raw["or"]) if "or" in raw else raw.get("out", "null")
            meta["result"] = codec.decode(text)
        elif "er" in raw:
            meta["result"], meta["traceback"] = json.loads(raw["er"]), raw.get("tb")
        elif status is Status.RUNNING:
            custom = codec.decode(raw["cs"]) if "cs" in raw else {}
            meta |= custom or {"result": {"hostname": raw.get("wk"), "pid": int(raw.get("pid") or 0)}}
        return meta

    def meta_of_channel(self, channel: Any) -> dict[str, Any]:
        """Give the result behind a channel's name."""
        return self._get_task_meta_for(_id_of(channel))

    def decode_result(self, payload: Any) -> Any:
        """Read what a transition published; a large result is fetched from the payload store."""
        meta = codec.decode(payload)
        result = meta.get("result")
        if isinstance(result, dict) and result.keys() == {endings.PAYLOAD_MARK}:
            try:
                meta["result"] = codec.decode(self.site.payloads.get(result[endings.PAYLOAD_MARK]))
            except PayloadMissing:
                return self._get_task_meta_for(meta["task_id"])
        return self.meta_from_decoded(meta)

    def _forget(self, task_id: str) -> None:
        """Drop the result; the execution stays on record."""
        self.site.space.client.hdel(self.get_key_for_task(task_id), "out", "or")

    def as_uri(self, include_password: bool = False) -> str:
        return str(super().as_uri(include_password))


def _id_of(key: Any) -> str:
    """Give the id in a record's key."""
    return keys.execution_of(key.decode() if isinstance(key, bytes) else str(key))


def _text(values: Any) -> dict[str, str]:
    return {name: value.decode() for name, value in zip(_RESULT_FIELDS, values, strict=True) if value}


def _backend_url(site: Site) -> str:
    """Write the registry's URL as Celery's backend reads it, which has words of its own for a socket."""
    address = site.space.address
    if address.kind != "server":
        return "redis://"  # Not connected to: the client is made by `_create_client`.
    url = address.url
    if not url.startswith("unix://"):
        return url
    return re.sub(r"([?&])db=", r"\1virtual_host=", url.replace("unix://", "socket://", 1))
