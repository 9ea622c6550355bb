"""`client.audit`: who did what, when, to what, and how that went."""

from __future__ import annotations

from executions.access import AuditEntry
from executions.parts import Parts

#: Entries of one page at most.
MOST = 500


class AuditView:
    """Read the audit log, and add to it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def list(self, limit: int = 50, cursor: str | None = None, who: str = "") -> list[AuditEntry]:
        """List entries, of everybody or of one, the newest first; `cursor` is that of the last of the page before."""
        return self._parts.audit.read(max(1, min(limit, MOST)), cursor, who)

    def record(self, who: str, action: str, target: str, result: str, **more: str) -> None:
        """Add an entry; `role`, `detail`, `source` and `request_id` may be told as well."""
        self._parts.audit.append({"who": who, "action": action, "target": target, "result": result, **more})
