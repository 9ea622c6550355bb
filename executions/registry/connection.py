"""How a process reaches the server: one client for each process and URL, errors in our own words."""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeAlias, TypeVar

import redis
from redis import exceptions as redis_errors
from redis.backoff import AbstractBackoff, ExponentialBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.retry import Retry
from redis.sentinel import Sentinel

from executions.errors import Unavailable, Unsupported
from executions.registry.address import Address, parse

#: The driver types every reply as a union of all that any server and setting could give; here bytes come in.
RedisClient: TypeAlias = Any

P = ParamSpec("P")
R = TypeVar("R")

#: Seconds that a command may take before the server counts as unreachable.
SOCKET_TIMEOUT_S = 15.0
CONNECT_TIMEOUT_S = 5.0

#: Seconds that a server may be away before a command fails; `Settings.patience_s` says otherwise.
PATIENCE_S = 5.0

#: Seconds that the driver pauses after a node of a cluster did not answer.
_CLUSTER_PAUSE_S = 0.25

#: Oldest server that has all commands the scripts use.
OLDEST_SERVER = (6, 2)

#: What passes by itself: a server that reads its data, a replica that is about to be the primary.
_PASSING = (
    redis_errors.ConnectionError,
    redis_errors.TimeoutError,
    redis_errors.BusyLoadingError,
    redis_errors.ReadOnlyError,
    # Older drivers let a connection that is refused through as it is.
    OSError,
)

#: What a refusal means, by the word that the server begins it with.
_REFUSALS = {
    "OOM": "is out of memory (raise maxmemory, or shorten the retention)",
    "MISCONF": "cannot write to its disk and takes nothing (look at its log and its disk)",
    "READONLY": "is a replica (give the primary's address, or one of its Sentinels)",
    "LOADING": "is still reading its data",
    "BUSY": "is busy with a script",
    "CLUSTERDOWN": "belongs to a cluster that is down",
    "MASTERDOWN": "is a replica without its primary",
    "TRYAGAIN": "belongs to a cluster that moves slots",
    "NOREPLICAS": "has too few replicas to take a write",
}


_NOT_LET_IN = (redis_errors.AuthenticationError, redis_errors.AuthorizationError)


class Patience(AbstractBackoff):
    """Pauses between tries that get longer, until the time is over that somebody is willing to wait.

    The driver counts tries. A server that is away answers at once (refused) or not at all (silence), so the
    same number of tries can take milliseconds or minutes; whoever waits thinks in seconds.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._pauses = ExponentialBackoff(cap=1.0, base=0.02)
        self._started = threading.local()

    def reset(self) -> None:
        # Also called for a connection that is made within another command's tries, so it may come too late;
        # what was paused so far does not depend on it.
        self._started.at = time.monotonic()

    def compute(self, failures: int) -> float:
        paused = sum(self._pauses.compute(before) for before in range(1, failures))
        waited = max(paused, time.monotonic() - self._started.at)
        error = sys.exc_info()[1]
        # Who is not let in now will not be in a moment.
        if error is not None and (waited >= self._patience_s or isinstance(error, _NOT_LET_IN)):
            raise error
        return min(self._pauses.compute(failures), max(self._patience_s - waited, 0.0))

    def __deepcopy__(self, memo: dict[int, Any]) -> Patience:
        # The driver copies it for each connection.
        return Patience(self._patience_s)


@functools.lru_cache(maxsize=64)
def client_for(url: str, patience_s: float = PATIENCE_S) -> RedisClient:
    """Give this process's client for a URL; connections are made when first needed."""
    # A server that says nothing at all is waited for no longer than one that is away.
    return make_client(url, socket_timeout_s=min(SOCKET_TIMEOUT_S, max(patience_s, 1.0)), patience_s=patience_s)


def make_client(
    url: str, *, socket_timeout_s: float | None = SOCKET_TIMEOUT_S, patience_s: float = PATIENCE_S
) -> RedisClient:
    """Make a client of its own, for blocking reads and for subscriptions."""
    address = parse(url)
    options: dict[str, Any] = {
        "socket_timeout": socket_timeout_s,
        "health_check_interval": 30,
        # Tries are not counted: the pauses end when the time is over.
        "retry": Retry(Patience(patience_s), -1, _PASSING),
        "retry_on_error": list(_PASSING),
    }
    if not address.url.startswith("unix"):
        options |= {"socket_connect_timeout": min(CONNECT_TIMEOUT_S, patience_s), "socket_keepalive": True}
    return _MAKERS[address.kind](address, options, patience_s)


def _make_plain(address: Address, options: dict[str, Any], patience_s: float) -> RedisClient:
    return redis.Redis.from_url(address.url, **options)


def _make_watched(address: Address, options: dict[str, Any], patience_s: float) -> RedisClient:
    watch = {
        "socket_timeout": CONNECT_TIMEOUT_S, "password": address.sentinel_password, "ssl": address.tls,
    }  # fmt: skip
    sentinel = Sentinel(list(address.hosts), sentinel_kwargs=watch)
    login = {"username": address.username, "password": address.password, "ssl": address.tls}
    return sentinel.master_for(address.name, db=address.database, **login, **options)


def _make_cluster(address: Address, options: dict[str, Any], patience_s: float) -> RedisClient:
    nodes = [ClusterNode(host, port) for host, port in address.hosts]
    login: dict[str, Any] = {"username": address.username, "password": address.password, "ssl": address.tls}
    # Here the driver counts its tries, with a pause of its own between them, and knows what is worth one.
    tries = Retry(ExponentialBackoff(cap=_CLUSTER_PAUSE_S), max(1, round(patience_s / _CLUSTER_PAUSE_S)))
    return RedisCluster(startup_nodes=nodes, **login, **options | {"retry": tries, "retry_on_error": None})


_MAKERS: dict[str, Callable[[Address, dict[str, Any], float], RedisClient]] = {
    "server": _make_plain,
    "sentinel": _make_watched,
    "cluster": _make_cluster,
}


def translated(function: Callable[P, R]) -> Callable[P, R]:
    """Turn the driver's errors into ours; every public function of the registry wears this."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except redis_errors.RedisError as error:
            raise translate(error) from error

    return call


def translate(error: redis_errors.RedisError) -> Exception:
    """Give our error for one of the driver's."""
    text = str(error)
    if "EXECUTIONS-NEWER" in text:
        return Unsupported(
            "this execution was written by a newer version of Executions; upgrade this process to read it"
        )
    if isinstance(error, _NOT_LET_IN) or "NOAUTH" in text:
        return Unavailable(f"the registry's server refused the password: {text}")
    for word, meaning in _REFUSALS.items():
        # Inside a script the word comes behind others, and the driver cuts some of them off.
        if f"{word} " in text or (word in _IS and isinstance(error, _IS[word])):
            return Unavailable(f"the registry's server {meaning}: {text}")
    if isinstance(error, redis_errors.TimeoutError):
        return Unavailable(f"the registry's server did not answer in time: {text}")
    if isinstance(error, redis_errors.ConnectionError):
        return Unavailable(f"the registry's server cannot be reached: {text}")
    return Unavailable(f"the registry's server refused a command: {text}")


#: Refusals whose word the driver takes off.
_IS: dict[str, type[redis_errors.RedisError]] = {
    "OOM": redis_errors.OutOfMemoryError,
    "READONLY": redis_errors.ReadOnlyError,
    "LOADING": redis_errors.BusyLoadingError,
    "CLUSTERDOWN": redis_errors.ClusterDownError,
    "MASTERDOWN": redis_errors.MasterDownError,
}
