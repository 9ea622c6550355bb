"""Who may do what: roles, users, tokens, and what is kept of their secrets."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from executions.errors import InvalidInput

#: Part of keys, of tokens and of log entries.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\-]{0,63}")

#: What tokens begin with, so that scanners for leaked secrets can know them.
TOKEN_PREFIX = "ext-"

#: The shortest password that is taken. There is no other rule: rules make passwords worse.
SHORTEST_PASSWORD = 10
_LONGEST_PASSWORD = 1024

#: The work of one look at a password: 16 MiB and some 50 ms.
_SCRYPT = {"n": 2**14, "r": 8, "p": 1}


class Role(StrEnum):
    """What somebody may do; each role may do all that the ones before it may."""

    VIEW = "view"  #: read everything
    OPERATE = "operate"  #: and launch, stop, rerun, tag, pause, drain
    ADMIN = "admin"  #: and change services, users and tokens, and read the audit log

    def may(self, needed: Role) -> bool:
        """Tell whether this role is enough."""
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(needed)


@dataclass(frozen=True)
class Who:
    """Somebody who asks for something, once it is known who that is."""

    name: str
    role: Role
    #: How that is known: `token`, `session`, `proxy`, `local`, or what the host application says.
    by: str = ""


@dataclass(frozen=True, kw_only=True)
class User:
    """Somebody who can sign in on the page."""

    name: str
    role: Role
    created: datetime | None = None
    created_by: str = ""


@dataclass(frozen=True, kw_only=True)
class Token:
    """What a program shows to be let in. Its secret is not kept."""

    name: str
    role: Role
    created: datetime | None = None
    expires: datetime | None = None
    created_by: str = ""


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """One action: who did what to what, when, and how that went."""

    cursor: str
    timestamp: datetime
    who: str
    role: str
    action: str
    target: str
    result: str
    detail: str = ""
    source: str = ""
    request_id: str = ""


def parse_role(text: str) -> Role:
    """Read a role by its name."""
    try:
        return Role(text.strip().lower())
    except ValueError:
        raise InvalidInput(f"no role {text!r}: use one of {', '.join(Role)}") from None


def check_name(name: str) -> str:
    """Refuse a name that cannot be part of a token."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"{name!r} is no name: up to 64 letters, digits and _ . @ -, a letter or digit first")
    return name


def new_token(name: str) -> tuple[str, str]:
    """Make a token: its text, which is shown once, and the digest that is kept."""
    text = f"{TOKEN_PREFIX}{secrets.token_urlsafe(32)}.{name}"
    return text, digest(text)


def token_name(text: str) -> str | None:
    """Give the name in a token's text; `None` where it is none."""
    _, dot, name = text.partition(".")
    return name if dot and text.startswith(TOKEN_PREFIX) and _NAME.fullmatch(name) else None


def digest(secret: str) -> str:
    """Give what is kept of a long random secret: guessing it is hopeless, so one round is enough."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def same(one: str, other: str) -> bool:
    """Compare without telling by the time it takes how much is right."""
    return hmac.compare_digest(one.encode(), other.encode(errors="surrogatepass"))


def hash_password(password: str) -> str:
    """Give what is kept of a password."""
    if not SHORTEST_PASSWORD <= len(password) <= _LONGEST_PASSWORD:
        raise InvalidInput(f"a password has at least {SHORTEST_PASSWORD} characters, this one has {len(password)}")
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}${_scrypt(password, salt).hex()}"


def is_password(password: str, kept: str | None) -> bool:
    """Tell whether this is the password. It takes as long where there is no such user."""
    salt, _, wanted = (kept or f"{'00' * 16}$").partition("$")
    found = _scrypt(password[:_LONGEST_PASSWORD], bytes.fromhex(salt)).hex()
    return same(found, wanted) and kept is not None


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(errors="surrogatepass"), salt=salt, dklen=32, **_SCRYPT)
