"""Which policy holds for an execution, as its worker's parent or the rescuer can tell from its record."""

from __future__ import annotations

import json
from typing import Any

from executions.celery.site import Site
from executions.policy import NO_POLICY, Policy, read_reset
from executions.registry.connection import translated


@translated
def policy_of(site: Site, execution_id: str) -> Policy | None:
    """Read what holds for an execution; `None` where there is no such.

    What a reset means is as it was when the attempt started, whatever its service has become since.
    """
    key = site.space.keys(execution_id).record(execution_id)
    function, options, service, reset = site.space.client.hmget(key, "fn", "op", "sv", "rp")
    if function is None:
        return None
    call: dict[str, Any] = json.loads(options) if options else {}
    below = site.services.policy(service.decode()) if service else NO_POLICY
    policy = site.policy(function.decode(), call, below)
    return policy if reset is None else read_reset(reset.decode(), call).over(policy)
