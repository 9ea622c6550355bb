"""Who asks: by a token, by a session, by what a proxy says, or because only this machine can ask at all."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request

from executions.access import Role, Who
from executions.client import Client

#: The cookie of a session.
COOKIE = "executions_session"

#: What a proxy adds. Who comes with one of these does not sit at this machine, whatever the connection says.
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "x-forwarded-host", "via")


@dataclass(frozen=True, kw_only=True)
class Access:
    """How those who ask are recognised."""

    #: Whether who asks from this machine is an administrator, for as long as there are no users and no tokens.
    local: bool = True
    #: The header in which a proxy in front names the user, and the addresses of such proxies.
    user_header: str = ""
    proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    #: The role of those whom the proxy names and who are no users of ours; nobody unless set.
    proxy_role: Role | None = None
    #: For an application that this one is mounted in: tells who asks, or that nobody is known to. Tokens hold besides.
    recognise: Callable[[Request], Who | None] | None = None


def who_asks(request: Request, client: Client, access: Access) -> Who | None:
    """Tell who asks; `None` where nobody is known to."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        # Who shows a token is nobody else: a wrong one is not made up for by a session.
        return client.people.of_token(credentials.strip())
    if access.recognise is not None:
        return access.recognise(request)
    if (named := _named_by_proxy(request, access)) is not None:
        return client.people.named(named) or (Who(named, access.proxy_role, "proxy") if access.proxy_role else None)
    if secret := request.cookies.get(COOKIE):
        return client.people.of_session(secret)
    if access.local and not access.user_header and is_local(request) and not client.people.is_anybody():
        return Who(client.settings.principal, Role.ADMIN, "local")
    return None


def source_of(request: Request, access: Access) -> str:
    """Give the address that a request came from: the one that a proxy tells, where that is to be believed."""
    peer = request.client.host if request.client else ""
    told = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    return told[:100] if told and peer in access.proxies else peer


def is_local(request: Request) -> bool:
    """Tell whether somebody at this machine asks for this machine.

    The name that was asked for counts as well: a page of another site can give its own name this machine's address.
    """
    peer = request.client.host if request.client else ""
    if not _is_loopback(peer) or any(name in request.headers for name in _FORWARDED):
        return False
    host = _hostname(request)
    return host == "localhost" or _is_loopback(host)


def _hostname(request: Request) -> str:
    host = request.headers.get("host", "")
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _named_by_proxy(request: Request, access: Access) -> str | None:
    peer = request.client.host if request.client else ""
    if not access.user_header or peer not in access.proxies:
        return None
    return request.headers.get(access.user_header) or None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
