"""Looks at a live registry and says where it does not hold what the system promises."""

from executions.registry.invariants.findings import CODES, Finding
from executions.registry.invariants.inspection import Inspection, Progress, Totals
from executions.registry.invariants.mending import Mending

__all__ = ["CODES", "Finding", "Inspection", "Mending", "Progress", "Totals"]
