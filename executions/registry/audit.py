"""The audit log: one stream of who did what, when, to what, and how that went.

An entry has the fields of `access.AuditEntry`, less its time and cursor, which are the entry's id.
"""

from __future__ import annotations

import re

from executions.access import AuditEntry
from executions.clock import to_datetime
from executions.errors import InvalidQuery
from executions.registry import keys
from executions.registry.connection import translated
from executions.registry.space import Space

#: Entries that are kept, roughly: a year of a busy team.
KEPT = 100_000

#: Characters of a field: a query may be long, and nobody reads more.
LONGEST = 1000

#: Entries that are read at once where those of one person are looked for.
_READ_AT_ONCE = 1000

_CURSOR = re.compile(r"\d{1,19}-\d{1,19}")


class AuditLog:
    """Writes and reads the entries."""

    def __init__(self, space: Space) -> None:
        self._space = space

    @translated
    def append(self, fields: dict[str, str]) -> None:
        """Add an entry."""
        cut = {name: value[:LONGEST] for name, value in fields.items() if value}
        self._space.client.xadd(keys.audit(self._space.namespace), cut, maxlen=KEPT, approximate=True)

    @translated
    def read(self, limit: int, before: str | None, who: str = "") -> list[AuditEntry]:
        """Give entries, of everybody or of one, the newest first."""
        if before is not None and not _CURSOR.fullmatch(before):
            raise InvalidQuery("this is not a cursor that was handed out; begin again without a cursor")
        at_once = _READ_AT_ONCE if who else limit
        found: list[AuditEntry] = []
        while True:
            newest = f"({before}" if before else "+"
            piece = self._space.client.xrevrange(keys.audit(self._space.namespace), newest, "-", at_once)
            entries = [_entry(entry_id.decode(), fields) for entry_id, fields in piece]
            found += [one for one in entries if who in ("", one.who)]
            if len(found) >= limit or len(entries) < at_once:
                return found[:limit]
            before = entries[-1].cursor


def _entry(entry_id: str, fields: dict[bytes, bytes]) -> AuditEntry:
    text = {name.decode(): value.decode(errors="replace") for name, value in fields.items()}
    moment = to_datetime(int(entry_id.partition("-")[0]) * 1000)
    assert moment is not None
    known = ("who", "role", "action", "target", "result", "detail", "source", "request_id")
    return AuditEntry(cursor=entry_id, timestamp=moment, **{name: text.get(name, "") for name in known})
