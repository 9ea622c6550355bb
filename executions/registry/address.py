"""Where a registry is: one server, one that Sentinels watch, or a cluster. Text in, facts out.

| URL | means |
|---|---|
| `redis://`, `rediss://` (TLS), `unix://` | one server |
| `redis+sentinel://host:26379,host2/name/0` | the primary called `name`, as those Sentinels know it |
| `redis+cluster://host:6379,host2` | a cluster, found through any of these nodes |

`valkey` stands for `redis` everywhere, `sentinel://` and `cluster://` are short for the long forms, and
`rediss+...` speaks TLS. `?sentinel_password=` is what the Sentinels themselves ask for.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import SplitResult, parse_qs, parse_qsl, quote, unquote, urlsplit

import redis

from executions.errors import InvalidSetting

Kind = Literal["server", "sentinel", "cluster"]

SENTINEL_PORT = 26379
SERVER_PORT = 6379

#: How a scheme is written, once it is known what it means.
_SCHEMES = {
    "redis": "redis",
    "rediss": "rediss",
    "valkey": "redis",
    "valkeys": "rediss",
    "unix": "unix",
    "redis+socket": "unix",
    "socket": "unix",
    "sentinel": "redis+sentinel",
    "redis+sentinel": "redis+sentinel",
    "rediss+sentinel": "rediss+sentinel",
    "valkey+sentinel": "redis+sentinel",
    "valkeys+sentinel": "rediss+sentinel",
    "cluster": "redis+cluster",
    "redis+cluster": "redis+cluster",
    "rediss+cluster": "rediss+cluster",
    "valkey+cluster": "redis+cluster",
    "valkeys+cluster": "rediss+cluster",
}

_KNOWN = "redis://, rediss://, valkey://, valkeys://, unix://, redis+sentinel:// or redis+cluster://"


#: What may stand behind the `?` of a URL: what the driver's connections take, and Celery's names for two of it.
_OPTIONS = {"virtual_host", "health_check_interval", "max_connections", "timeout"}.union(
    *(
        inspect.signature(kind).parameters
        for connection in (redis.SSLConnection, redis.UnixDomainSocketConnection)
        for kind in connection.__mro__
    )
)


@dataclass(frozen=True)
class Address:
    """What a URL says; of one server only the text matters, which the driver reads itself."""

    kind: Kind
    url: str
    hosts: tuple[tuple[str, int], ...] = ()
    tls: bool = False
    username: str | None = None
    password: str | None = None
    #: Of a Sentinel's URL: the primary's name, its database, and the password of the Sentinels.
    name: str = ""
    database: int = 0
    sentinel_password: str | None = None


def normalize_url(url: str) -> str:
    """Give the URL with a scheme that means one thing; refuse what is not a server's URL."""
    return parse(url).url


def is_registry_url(url: str) -> bool:
    """Tell whether a URL's scheme is one of ours, whatever the rest says."""
    return url.partition("://")[0].lower() in _SCHEMES


def parse(url: str) -> Address:
    """Read a URL; what cannot be one is refused."""
    scheme, separator, rest = url.partition("://")
    known = _SCHEMES.get(scheme.lower())
    if not separator or known is None or not rest:
        raise InvalidSetting(f"not a registry URL: {mask_password(url)!r} (give {_KNOWN})")
    try:
        if "+" in known:
            return _several(known, rest)
        _check(urlsplit(f"{known}://{rest}"))
    except ValueError as error:
        raise InvalidSetting(f"not a registry URL: {mask_password(url)!r} ({error})") from None
    if known == "unix":
        rest = re.sub(r"(\?|&)virtual_host=", r"\1db=", rest)
    return Address("server", verified(f"{known}://{rest}"))


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


def broker_at(url: str) -> tuple[str, dict[str, Any]]:
    """Give the same server as kombu names it, and the transport options that go with it."""
    address = parse(url)
    if address.kind == "cluster":
        raise InvalidSetting(
            "a cluster holds the registry but cannot carry Celery's messages; "
            "name a broker beside it: broker='redis://...' or 'amqp://...', or EXECUTIONS_BROKER"
        )
    if address.kind == "server":
        return re.sub("^unix://", "redis+socket://", address.url), {}
    login = "" if address.password is None else f"{quote(address.username or '')}:{quote(address.password)}@"
    hosts = ";".join(f"sentinel://{login}{host}:{port}/{address.database}" for host, port in address.hosts)
    options: dict[str, Any] = {"master_name": address.name}
    if address.sentinel_password is not None:
        options["sentinel_kwargs"] = {"password": address.sentinel_password}
    return hosts, options


def registry_at(broker_url: str, options: Mapping[str, Any]) -> str | None:
    """Give the registry's URL where a broker that kombu names can hold it too; `None` where it cannot."""
    hosts = broker_url.split(";")
    if hosts[0].startswith("sentinel://") and options.get("master_name"):
        parts = [urlsplit(one) for one in hosts]
        database = parts[0].path.strip("/") or "0"
        login = parts[0].netloc.rpartition("@")[0]
        where = ",".join(one.netloc.rpartition("@")[2] for one in parts)
        password = (options.get("sentinel_kwargs") or {}).get("password")
        more = f"?sentinel_password={quote(password)}" if password else ""
        return f"redis+sentinel://{login}{'@' if login else ''}{where}/{options['master_name']}/{database}{more}"
    known = _SCHEMES.get(broker_url.partition("://")[0].lower(), "")
    return broker_url if known in ("redis", "rediss", "unix") else None


def _several(scheme: str, rest: str) -> Address:
    """Read a URL that names several hosts, which the standard library does not know."""
    tls, kind = scheme.startswith("rediss"), scheme.partition("+")[2]
    authority, _, path = rest.partition("?")[0].partition("/")
    login, _, hosts = authority.rpartition("@")
    user, has_password, password = login.partition(":")
    options = dict(parse_qsl(rest.partition("?")[2]))
    address = Address(
        "sentinel" if kind == "sentinel" else "cluster",
        f"{scheme}://{rest}",
        tuple(_host(one, SENTINEL_PORT if kind == "sentinel" else SERVER_PORT) for one in hosts.split(",")),
        tls,
        unquote(user) or None,
        unquote(password) if has_password else None,
        sentinel_password=options.get("sentinel_password"),
    )
    name, _, database = path.strip("/").partition("/")
    if address.kind == "cluster":
        if path.strip("/") not in ("", "0"):
            raise ValueError("a cluster has no database but 0")
        return address
    if not name:
        raise ValueError("name the primary behind the Sentinels: redis+sentinel://host:26379/NAME")
    return Address(**{**vars(address), "name": unquote(name), "database": int(database or 0)})


def _host(text: str, usual_port: int) -> tuple[str, int]:
    # The standard library reads one host well, one in brackets too.
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("a host is missing")
    return parts.hostname, parts.port or usual_port


def same_server(one: str, other: str) -> bool:
    """Tell whether two URLs name the same database of the same server, as far as their texts show."""
    try:
        addresses = parse(one), parse(other)
    except InvalidSetting:
        return False
    return all(a.kind == "server" for a in addresses) and _place(addresses[0].url) == _place(addresses[1].url)


def _place(url: str) -> tuple[str, str, str | None, int | None, str]:
    parts = urlsplit(url)
    database = parts.path if parts.scheme == "unix" else parts.path.strip("/") or "0"
    return parts.scheme, parts.username or "", parts.hostname, parts.port or SERVER_PORT, f"{database}?{parts.query}"


def mask_password(url: str) -> str:
    """Give the URL without its passwords, for messages."""
    url = re.sub(r"(sentinel_password=)[^&]*", r"\1***", url)
    return re.sub(r"(://[^:@/]*:)[^@/]*@", r"\1***@", url)
