"""Celery's revokes, made durable: each is a stop request in the registry first, a broadcast second."""

from __future__ import annotations

from typing import Any

from celery.app.control import Control
from celery.worker.control import Panel, control_command, ok
from celery.worker.control import revoke as stock_revoke
from kombu.utils.encoding import safe_str

from executions import parking
from executions.celery.site import Site, site_of
from executions.clock import SYSTEM_CLOCK
from executions.errors import ExecutionsError
from executions.registry.transitions import Asked, Cancelled, Missing

#: Signals that mean: at once, without a word.
_KILLS = {"SIGKILL", "KILL", "9"}


class ExecutionsControl(Control):
    """`app.control` of an installed app. Flower's buttons and `AsyncResult.revoke()` end up here as well."""

    def revoke(
        self,
        task_id: Any,
        destination: Any = None,
        terminate: bool = False,
        signal: str = "SIGTERM",
        **kwargs: Any,
    ) -> Any:
        """Revoke for good: also for workers that are down now, and after every restart."""
        site = site_of(self.app)
        known = [stop(site, one, terminate=terminate, signal=signal) for one in _ids(task_id)] if site else []
        if known and all(known):
            return None
        return super().revoke(task_id, destination=destination, terminate=terminate, signal=signal, **kwargs)


def stop(site: Site, execution_id: str, *, terminate: bool, signal: Any) -> bool:
    """Ask for a stop as a revoke means it; False where the registry does not know the id."""
    principal = f"{site.settings.principal} (revoke)"
    force = terminate and str(signal).upper() in _KILLS
    mode = "force" if force else "soft" if terminate else "checkpoint"
    outcome = site.transitions.terminate(
        execution_id,
        principal=principal,
        cause="revoked through Celery",
        mode=mode,
        grace_s=site.settings.soft_after_s if terminate and not force else None,
        at_us=round(SYSTEM_CLOCK.now() * 1_000_000),
    )
    if isinstance(outcome, Asked):
        site.workers.push_stop(outcome.worker, execution_id, outcome.attempt, mode, None)
    elif isinstance(outcome, Cancelled):
        parking.forget(site, execution_id)
    return not isinstance(outcome, Missing)


def _ids(task_id: Any) -> list[str]:
    return [str(one) for one in task_id] if isinstance(task_id, list | tuple | set) else [str(task_id)]


def install_revoke() -> None:
    """Have a worker treat the `revoke` command of any client, installed or not, as ours."""
    if Panel.data.get("revoke") is _revoke:
        return
    Panel.data["revoke"] = _revoke
    Panel.data["terminate"] = _terminate


@control_command(
    name="executions_revoke",
    variadic="task_id",
    signature="[id1 [id2 [... [idN]]]]",
    args=[("task_id", str), ("terminate", bool), ("signal", str)],
)
def _revoke(state: Any, task_id: Any, terminate: bool = False, signal: Any = None, **kwargs: Any) -> Any:
    """Revoke executions by id."""
    site = site_of(state.app)
    if site is None:
        return stock_revoke(state, task_id, terminate=terminate, signal=signal, **kwargs)
    unknown = []
    for one in _ids(task_id):
        try:
            if not stop(site, one, terminate=terminate, signal=signal or "SIGTERM"):
                unknown.append(one)
        except ExecutionsError:
            unknown.append(one)
    if unknown:
        return stock_revoke(state, unknown, terminate=terminate, signal=signal, **kwargs)
    return ok(f"{', '.join(safe_str(one) for one in _ids(task_id))} asked to stop")


def _terminate(state: Any, signal: Any, task_id: Any, **kwargs: Any) -> Any:
    """The worker's `terminate` command, which Celery makes of its own `revoke`."""
    return _revoke(state, task_id, terminate=True, signal=signal)
