"""Services in the registry: their policies and versions, who may start now and who has to wait."""

from __future__ import annotations

from dataclasses import dataclass

from executions.policy import NO_POLICY, Policy
from executions.registry.space import Space


@dataclass(frozen=True)
class Permit:
    """Whether an execution of a service may start now."""

    granted: bool
    why: str = ""
    version: int | None = None


class Services:
    """Reads and writes about services."""

    def __init__(self, space: Space) -> None:
        self._space = space

    def policy(self, name: str) -> Policy:
        """Give the policy of a service as it is now."""
        return NO_POLICY

    def enter(self, name: str, execution_id: str) -> Permit:
        """Ask for a slot of a service."""
        return Permit(True)

    def leave(self, name: str, execution_id: str) -> None:
        """Give a slot back."""
