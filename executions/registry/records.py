"""How a record is written in Redis, and how it is read back into an `Execution`.

Field names are short because the server keeps them once for every execution.

| field | what | field | what |
|---|---|---|---|
| `v` | format of the record | `no` | number within its shard |
| `st` `rs` `msg` | status, reason, message | `at` | attempts started |
| `cr` `qd` `sd` `fi` | created, queued again, started, finished (us) | `eta` `ex` | not before, not after (us) |
| `fn` `sv` `vs` | function, service, service version | `nm` | name |
| `pl` `sg` `qu` | pipeline, stage, queue | `pr` | who submitted it |
| `wk` `pid` `po` | worker, process, pool | `pa` `ro` `ref` | parent, root, reference |
| `in` | `[args, kwargs]` as they may be shown | `pay` | the true ones: JSON or a payload reference |
| `out` `or` | output, or a payload reference to it | `er` `tb` | error, traceback |
| `op` | options given with the call | `hd` | what else the message carried (callbacks, chord, headers) |
| `pc` `pm` | progress in percent, its message | `tg` | tags |
| `p.<key>` `m.<name>` | property, last value of a metric | `ss` | saved state |
| `vx` | names of the former two, with `p.` and `m.` | | |
| `cp` `mm` | CPU microseconds, peak memory in KiB | `ch` | ids of Celery's children |
| `tt` | stop request | `ls`, `1` `2` ... | length of the status log, its entries |
| `a<k>` | attempt k, once another followed | `ck` | who took the attempt: the worker's term, a dot, the call |
| `re` | Celery's count of retries | `rp` | what a reset means, as `on_reset/max_attempts` |
| `src` | the execution whose output this one reused | `dl` | the attempt's time limit (us) |
| `lo` | attempts that ended by a lost worker and were followed | `gi` | names what its submitter told of its code |
| `gc` `gb` | commit, branch of its submitter | `gw` | its worker's, if another: `<look>/<commit>` |
| `cd` | `member` of a chord, or `chain` with one behind it | `bk` | bulks that acted on it, the newest |
| `nt` | notes, as `[us, who, text]` each | `nc` | how many there are |
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from executions import codec
from executions.clock import to_datetime
from executions.errors import Unsupported
from executions.execution import Attempt, Code, ErrorInfo, Execution, Note, StopRequest
from executions.states import Reason, Status

#: The newest format that this version reads; `lua/_prelude.lua` has the same.
FORMAT = 1

#: What a list shows of each execution; the large fields stay on the server.
SUMMARY_FIELDS = (
    "v", "no", "st", "rs", "msg", "at", "cr", "qd", "sd", "fi", "eta", "ex", "fn", "sv", "vs", "nm", "pl", "sg",
    "qu", "pr", "wk", "pid", "po", "pa", "ro", "ref", "in", "er", "op", "pc", "pm", "tg", "cp", "mm", "tt", "or",
    "src", "gi", "gc", "gb", "gw", "nc",
)  # fmt: skip


def decode_record(execution_id: str, raw: Mapping[str, str], shard: int = 0, shards: int = 1) -> Execution:
    """Make the picture of an execution from its hash."""
    if int(raw.get("v", FORMAT)) > FORMAT:
        raise Unsupported(
            f"execution {execution_id} was written by a newer version of Executions; upgrade this process to read it"
        )
    options = json.loads(raw["op"]) if raw.get("op") else {}
    attempts = _attempts(raw)
    return Execution(
        id=execution_id,
        number=int(raw["no"]) * shards + shard,
        function=raw.get("fn", ""),
        status=Status(raw["st"]),
        reason=Reason(raw.get("rs", "")),
        message=raw.get("msg", ""),
        name=raw.get("nm"),
        service=raw.get("sv"),
        service_version=_int(raw.get("vs")),
        pipeline=raw.get("pl"),
        stage=raw.get("sg"),
        queue=raw.get("qu"),
        worker=raw.get("wk"),
        pid=_int(raw.get("pid")),
        pool=raw.get("po"),
        principal=raw.get("pr"),
        parent_id=raw.get("pa"),
        root_id=raw.get("ro") or execution_id,
        reference=raw.get("src") or raw.get("ref"),
        attempt=int(raw.get("at", 0)),
        max_attempts=options.get("max_attempts"),
        execution_timeout=options.get("execution_timeout"),
        progress=_int(raw.get("pc")) or 0,
        progress_message=raw.get("pm"),
        tags=tuple(json.loads(raw["tg"])) if raw.get("tg") else (),
        properties={key[2:]: codec.decode(text) for key, text in raw.items() if key.startswith("p.")},
        inputs=_inputs(raw.get("in")),
        error=decode_error(raw.get("er"), raw.get("tb")),
        created=_time(raw.get("cr")),
        queued=_time(raw.get("qd") or raw.get("cr")),
        eta=_time(raw.get("eta")),
        expires=_time(raw.get("ex")),
        started=_time(raw.get("sd")),
        finished=_time(raw.get("fi")),
        status_log=_status_log(raw, attempts),
        attempts_log=attempts,
        stop_request=_stop_request(raw.get("tt")),
        code=Code(commit=raw["gc"], branch=raw.get("gb")) if raw.get("gc") else None,
        ran=Code(commit=raw["gw"].partition("/")[2]) if raw.get("gw") else None,
        notes=_notes(raw.get("nt")),
        note_count=_int(raw.get("nc")) or 0,
        latest_metrics={key[2:]: codec.decode(text) for key, text in raw.items() if key.startswith("m.")},
        has_output="out" in raw or "or" in raw,
        _raw=dict(raw),
    )


def encode_error(info: ErrorInfo, exc_type: str, exc_module: str, exc_message: Any) -> str:
    """Write an error so that both we and Celery's own result code can read it."""
    return json.dumps(
        {
            "exc_type": exc_type,
            "exc_message": exc_message,
            "exc_module": exc_module,
            "message": info.message,
            "frame": info.frame,
            "fingerprint": info.fingerprint,
            "kind": info.kind,
            **({"exit_code": info.exit_code} if info.exit_code is not None else {}),
        },
        separators=(",", ":"),
    )


def decode_error(text: str | None, traceback: str | None = None) -> ErrorInfo | None:
    """Read an error."""
    if not text:
        return None
    raw = json.loads(text)
    message = raw.get("message")
    if message is None:
        parts = raw.get("exc_message") or ""
        message = str(parts[0]) if isinstance(parts, list) and parts else str(parts)
    return ErrorInfo(
        type=raw.get("exc_type", ""),
        message=message,
        traceback=traceback,
        frame=raw.get("frame"),
        fingerprint=raw.get("fingerprint"),
        kind=raw.get("kind", "user"),
        exit_code=raw.get("exit_code"),
    )


def _inputs(text: str | None) -> dict[str, Any]:
    if not text:
        return {"args": [], "kwargs": {}}
    args, kwargs = codec.decode(text)[:2]
    return {"args": args, "kwargs": kwargs}


def _attempts(raw: Mapping[str, str]) -> tuple[Attempt, ...]:
    current = int(raw.get("at", 0))
    found = [_archived(k, json.loads(raw[f"a{k}"])) for k in range(1, current + 1) if f"a{k}" in raw]
    if current and f"a{current}" not in raw:
        found.append(
            _attempt(
                current,
                {"worker": raw.get("wk"), "pid": raw.get("pid"), "pool": raw.get("po"), "started": raw.get("sd"),
                 "finished": raw.get("fi"), "cpu": raw.get("cp"), "memory": raw.get("mm"), "error": raw.get("er"),
                 "traceback": raw.get("tb"), "service_version": raw.get("vs"), "status": raw["st"],
                 "reason": raw.get("rs", "")},
            )
        )  # fmt: skip
    return tuple(found)


def _archived(number: int, entry: dict[str, Any]) -> Attempt:
    # What Lua read as nil it wrote as `false`.
    return _attempt(number, {key: value or None for key, value in entry.items()})


def _attempt(number: int, entry: Mapping[str, Any]) -> Attempt:
    reason = entry.get("reason") or ""
    cpu, memory = entry.get("cpu"), entry.get("memory")
    return Attempt(
        number=number,
        status=Status(entry["status"]),
        reason=Reason(reason),
        worker=entry.get("worker"),
        pid=_int(entry.get("pid")),
        pool=entry.get("pool"),
        started=_time(entry.get("started")),
        finished=_time(entry.get("finished")),
        cpu_seconds=None if cpu is None else int(cpu) / 1_000_000,
        max_rss_mb=None if memory is None else int(memory) / 1024,
        error=decode_error(entry.get("error"), entry.get("traceback")),
        service_version=_int(entry.get("service_version")),
    )


def _status_log(raw: Mapping[str, str], attempts: tuple[Attempt, ...]) -> tuple[dict[str, Any], ...]:
    workers = {attempt.number: attempt.worker for attempt in attempts}
    numbers = sorted(int(key) for key in raw if key.isdigit())
    return tuple(_entry(raw[str(number)], workers, raw.get("pr")) for number in numbers)


def _entry(text: str, workers: Mapping[int, str | None], submitter: str | None) -> dict[str, Any]:
    state, at_us, attempt, principal, message = text.split("|", 4)
    status, reason = state.split("/", 1)
    number = int(attempt)
    return {
        "status": Status(status),
        "reason": Reason(reason),
        "message": message,
        "timestamp": _time(at_us),
        "attempt": number,
        "worker": workers.get(number) if number else None,
        "principal": principal or (submitter if number == 0 and status == "pending" else None),
    }


def _notes(text: str | None) -> tuple[Note, ...]:
    return tuple(Note(_time(at_us), who, said) for at_us, who, said in json.loads(text or "[]"))


def _stop_request(text: str | None) -> StopRequest | None:
    if not text:
        return None
    raw = json.loads(text)
    return StopRequest(
        principal=raw.get("principal", ""),
        cause=raw.get("cause", ""),
        mode=raw.get("mode", ""),
        grace_s=raw.get("grace_s"),
        at=_time(raw.get("at")),
    )


def _int(text: Any) -> int | None:
    return None if text in (None, "", False) else int(text)


def _time(text: Any) -> datetime | None:
    return to_datetime(_int(text))
