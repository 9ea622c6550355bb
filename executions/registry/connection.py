"""How a process reaches the server: one pool for each process and URL, errors in our own words."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any, ParamSpec, TypeAlias, TypeVar
from urllib.parse import SplitResult, parse_qs, urlsplit

import redis
from redis import exceptions as redis_errors

from executions.errors import InvalidSetting, Unavailable, Unsupported

#: The driver types every reply as a union of all that any server and setting could give; here bytes come in.
RedisClient: TypeAlias = Any

P = ParamSpec("P")
R = TypeVar("R")

#: Seconds that a command may take before the server counts as unreachable.
SOCKET_TIMEOUT_S = 15.0
CONNECT_TIMEOUT_S = 5.0

#: Oldest server that has all commands the scripts use.
OLDEST_SERVER = (6, 2)

_SCHEMES = {
    "redis": "redis",
    "rediss": "rediss",
    "valkey": "redis",
    "valkeys": "rediss",
    "unix": "unix",
    "redis+socket": "unix",
    "socket": "unix",
}

#: What may stand behind the `?` of a URL: what the driver's connections take, and Celery's names for two of it.
_OPTIONS = {"virtual_host", "health_check_interval", "max_connections", "timeout"}.union(
    *(
        inspect.signature(kind).parameters
        for connection in (redis.SSLConnection, redis.UnixDomainSocketConnection)
        for kind in connection.__mro__
    )
)


def normalize_url(url: str) -> str:
    """Give the URL with a scheme the driver knows; refuse what is not a server's URL."""
    scheme, separator, rest = url.partition("://")
    known = _SCHEMES.get(scheme.lower())
    if not separator or known is None or not rest:
        raise InvalidSetting(
            f"not a registry URL: {mask_password(url)!r} (give redis://, rediss://, valkey://, valkeys:// or unix://)"
        )
    try:
        _check(urlsplit(f"{known}://{rest}"))
    except ValueError as error:
        raise InvalidSetting(f"not a registry URL: {mask_password(url)!r} ({error})") from None
    if known == "unix":
        rest = re.sub(r"(\?|&)virtual_host=", r"\1db=", rest)
    return verified(f"{known}://{rest}")


def _check(parts: SplitResult) -> None:
    """Refuse what the driver takes for database 0, and what it only trips over when it connects."""
    _ = parts.port
    database = parts.path.strip("/")
    if parts.scheme != "unix" and database and not database.isdigit():
        raise ValueError(f"the database must be a number, not {database!r}")
    unknown = [name for name in parse_qs(parts.query) if name not in _OPTIONS]
    if unknown:
        raise ValueError(f"unknown option {unknown[0]!r}")


def verified(url: str) -> str:
    """Say in a TLS URL that the server's certificate is checked, which Celery wants to be said and the driver does."""
    if not url.startswith("rediss://") or "ssl_cert_reqs=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}ssl_cert_reqs=required"


def same_server(one: str, other: str) -> bool:
    """Tell whether two URLs name the same database of the same server, as far as their texts show."""
    try:
        return _place(normalize_url(one)) == _place(normalize_url(other))
    except InvalidSetting:
        return False


def _place(url: str) -> tuple[str, str, str | None, int | None, str]:
    parts = urlsplit(url)
    database = parts.path if parts.scheme == "unix" else parts.path.strip("/") or "0"
    return parts.scheme, parts.username or "", parts.hostname, parts.port or 6379, f"{database}?{parts.query}"


def mask_password(url: str) -> str:
    """Give the URL without its password, for messages."""
    return re.sub(r"(://[^:@/]*:)[^@/]*@", r"\1***@", url)


@functools.lru_cache(maxsize=64)
def client_for(url: str) -> RedisClient:
    """Give this process's client for a URL; connections are made when first needed."""
    return make_client(url)


def make_client(url: str, *, socket_timeout_s: float | None = SOCKET_TIMEOUT_S) -> RedisClient:
    """Make a client of its own, for blocking reads and for subscriptions."""
    options: dict[str, Any] = {"socket_timeout": socket_timeout_s, "health_check_interval": 30}
    if not url.startswith("unix"):
        options |= {"socket_connect_timeout": CONNECT_TIMEOUT_S, "socket_keepalive": True}
    return redis.Redis.from_url(normalize_url(url), **options)


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
    if isinstance(error, redis_errors.AuthenticationError | redis_errors.AuthorizationError) or "NOAUTH" in text:
        return Unavailable(f"the registry's server refused the password: {text}")
    if isinstance(error, redis_errors.TimeoutError):
        return Unavailable(f"the registry's server did not answer in time: {text}")
    if isinstance(error, redis_errors.ConnectionError | redis_errors.BusyLoadingError):
        return Unavailable(f"the registry's server cannot be reached: {text}")
    return Unavailable(f"the registry's server refused a command: {text}")
