"""How a service is written in Redis, and how it is read back.

| field | what |
|---|---|
| `id` `version` | the service's id; the number of its policy, one more with each update |
| `settings` | one JSON text, so that a reader never sees half of an update |
| `functions` | JSON: the functions, each with the name of its task |
| `declared` | JSON: settings and functions as the code declared them last |
| `paused` | `1` while it is |
| `updated_by` `created` `updated` | who changed it last; when it was made and changed (us) |
| `forced` | the newest version that was put in force at once |
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from executions.clock import to_datetime
from executions.service import ServiceSettings, ServiceState


@dataclass(frozen=True)
class Declaration:
    """A service as code deploys it."""

    name: str
    settings: ServiceSettings
    functions: Mapping[str, str]
    principal: str

    def encode(self) -> str:
        """Give what is compared with the next declaration."""
        content = {"settings": self.settings.as_dict(), "functions": dict(self.functions)}
        return json.dumps(content, sort_keys=True, separators=(",", ":"))


def written(settings: ServiceSettings, principal: str) -> list[Any]:
    """Give the fields that an update writes."""
    return ["settings", json.dumps(settings.as_dict(), separators=(",", ":")), "updated_by", principal]


def merged(now: ServiceSettings, before: bytes | None, declared: Declaration) -> ServiceSettings:
    """Lay what the code declares otherwise than before over the settings in force."""
    old = json.loads(before)["settings"] if before else {}
    new = json.loads(declared.encode())["settings"]
    changed = {name: new.get(name) for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in changed.items()
    }
    return replace(now, **values)


def state_of(name: str, raw: Mapping[bytes, bytes]) -> ServiceState:
    """Read a service from its hash."""
    text = {key.decode(): value.decode(errors="replace") for key, value in raw.items()}
    return ServiceState(
        name=name,
        id=text.get("id", ""),
        version=int(text.get("version", 0)),
        settings=ServiceSettings.read(json.loads(text.get("settings", "{}"))),
        functions=json.loads(text.get("functions", "{}")),
        paused=text.get("paused") == "1",
        updated_by=text.get("updated_by", ""),
        created=to_datetime(int(text["created"])) if "created" in text else None,
        updated=to_datetime(int(text["updated"])) if "updated" in text else None,
        forced=int(text.get("forced", 0)),
    )
