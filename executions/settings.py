"""The settings of the library, read once at the edge into one frozen object."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from executions.errors import InvalidSetting
from executions.ids import MAX_SHARDS

DEFAULT_URL = "redis://127.0.0.1:6379/0"

#: What is in front of the name of a setting in the environment.
PREFIX = "EXECUTIONS_"


def _principal() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid-{os.getuid()}"
    return f"{user}@{socket.gethostname()}"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that can be set. Each field is also read from `EXECUTIONS_<FIELD>`."""

    #: Where the registry is.
    url: str = DEFAULT_URL
    #: Where the messages go; the registry's server unless set.
    broker: str = ""
    #: First part of every key.
    namespace: str = "ex"
    #: Number of shards of a new registry; an existing one keeps its own.
    shards: int = 1
    #: How long an execution is kept after its end.
    retention_s: int = 7 * 24 * 3600
    #: Arguments and results larger than this go to the payload store.
    payload_threshold: int = 64 * 1024
    #: The payload store: a folder or any fsspec URL.
    payloads: str = ".executions/payloads"
    #: Largest value that is accepted at all.
    payload_max: int = 512 * 1024 * 1024
    #: Where people find the page, with its prefix where it has one.
    console: str = "http://127.0.0.1:5560"
    #: Who acts, where nobody is named.
    principal: str = field(default_factory=_principal)
    #: How long a call tries to reach a server that is away before it fails.
    patience_s: float = 5.0
    #: How often a worker beats, and how long after its last beat it counts as lost: at least three beats.
    beat_s: float = 2.0
    lease_s: float = 10.0
    #: Seconds from a stop request, or a deadline, to the exception in the running code, and to the kill.
    soft_after_s: float = 5.0
    grace_s: float = 15.0
    #: How long a worker that is asked to shut down lets functions go on.
    drain_s: float = 600.0
    #: How long lines of output are gathered before they are stored, and how many are kept of an attempt.
    log_flush_s: float = 0.2
    log_max_lines: int = 10_000
    log_max_bytes: int = 4 * 1024 * 1024
    #: Where workers of this machine tell how they are; a folder of the user's own below the temporary one unless set.
    run_dir: str = ""
    #: The code that a process runs, for images without a `.git`; read from the checkout it is started in unless set.
    git_commit: str = ""
    git_branch: str = ""
    git_repository: str = ""
    #: How long a worker's consumer may make no progress, while the registry answers, before the worker ends itself.
    stalled_exit_s: float = 60.0
    #: How long a child process may take to begin what it was given, while the registry answers, before it is replaced.
    start_within_s: float = 30.0

    def __post_init__(self) -> None:
        if not 1 <= self.shards <= MAX_SHARDS:
            raise InvalidSetting(f"{PREFIX}SHARDS must be between 1 and {MAX_SHARDS}, not {self.shards}")
        if self.lease_s < 3 * self.beat_s:
            raise InvalidSetting(
                f"{PREFIX}LEASE_S ({self.lease_s}) must be at least three times {PREFIX}BEAT_S ({self.beat_s}), "
                "or one late beat loses a healthy worker"
            )
        if self.grace_s < self.soft_after_s:
            raise InvalidSetting(
                f"{PREFIX}GRACE_S ({self.grace_s}) must not be shorter than {PREFIX}SOFT_AFTER_S ({self.soft_after_s})"
            )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **given: Any) -> Settings:
        """Read the environment; what is `given` and not None wins. A wrong value is refused by its name."""
        environ = os.environ if environ is None else environ
        found: dict[str, Any] = {}
        for f in fields(cls):
            text = environ.get(PREFIX + f.name.upper())
            if text:
                found[f.name] = _parse(PREFIX + f.name.upper(), str(f.type), text)
        return (
            cls(**found, **{})
            if not given
            else replace(cls(**found), **{name: value for name, value in given.items() if value is not None})
        )

    @property
    def gap_s(self) -> float:
        """Seconds between two replies of the server up to which it counts as having been there all the time."""
        return max(2 * self.beat_s, self.lease_s / 2)

    @property
    def broker_url(self) -> str:
        """Where the messages go."""
        return self.broker or self.url


def _parse(name: str, kind: str, text: str) -> Any:
    reader: Callable[[str], Any] = {"int": int, "float": float}.get(kind, str)
    try:
        value = reader(text)
    except ValueError:
        what = "a whole number" if kind == "int" else "a number"
        raise InvalidSetting(f"{name} must be {what}, not {text!r}") from None
    if kind != "str" and value <= 0:
        raise InvalidSetting(f"{name} must be more than zero, not {text!r}")
    return value
