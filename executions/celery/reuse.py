"""Whether an attempt has to run its function at all, or the output of an earlier execution will do.

Asked once the attempt is taken: whichever way it was started, and never by two at once. The end is written where
every success is written, after Celery has sent on what follows it, so a crash in between loses nothing.
"""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

from executions import codec
from executions.errors import ExecutionsError
from executions.registry.cache import digest_of
from executions.registry.transitions import Ended
from executions.telemetry import log

if TYPE_CHECKING:
    from executions.celery.runner import Attempt

logger = logging.getLogger(__name__)


def recall(attempt: Attempt, args: Any, kwargs: Any) -> tuple[bool, Any]:
    """Tell whether the output of an earlier execution will do, and give it; the attempt remembers whose it is.

    Only the first attempt asks. A rerun is asked for because somebody wants it computed, and a retry has
    nothing to gain.
    """
    policy, site = attempt.policy, attempt.site
    arguments = None if attempt.ignores_result else codec.canonical(_by_name(attempt.task, args, kwargs))
    if arguments is None:
        return False, None
    attempt.call = digest_of(attempt.task.name, policy.cache_version or "1", arguments)
    if attempt.started.attempt > 1 or policy.overwrite_cache:
        return False, None
    try:
        source = site.cache.find(attempt.call)
        if source is None:
            return False, None
        value = codec.decode(site.payloads.get(source.text) if source.is_reference else source.text)
    except ExecutionsError as error:
        log(logger, "cache.unused", id=attempt.request.id, error=error)
        return False, None
    attempt.source = source
    return True, value


def keep(attempt: Attempt, outcome: Any) -> None:
    """Let later calls reuse an output that was computed and recorded just now."""
    if not attempt.call or attempt.source is not None or not isinstance(outcome, Ended):
        return
    ttl_s = attempt.policy.cache_ttl or attempt.site.settings.retention_s
    try:
        attempt.site.cache.keep(attempt.call, attempt.request.id, attempt.started.attempt, ttl_s)
    except ExecutionsError as error:
        log(logger, "cache.unused", id=attempt.request.id, error=error)


def _by_name(task: Any, args: Any, kwargs: Any) -> Any:
    """Give the arguments by their parameters, so that it does not matter which way they were passed."""
    try:
        return dict(inspect.signature(task.run).bind(*args, **kwargs).arguments)
    except (TypeError, ValueError):
        # A method of a service, whose instance is not here; or arguments that the function will refuse.
        return [list(args), dict(kwargs)]
