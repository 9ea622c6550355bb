"""`client.functions`: the functions of the fleet, as its workers describe them."""

from __future__ import annotations

from executions.errors import NotFound
from executions.function import Function
from executions.parts import Parts


class FunctionsView:
    """List the functions and look at one."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def list(self) -> list[Function]:
        """List the functions that workers know, or knew until a few days ago, by name."""
        return self._parts.catalogue.all()

    def get(self, name: str) -> Function:
        """Read one function by its name; raises `NotFound`."""
        found = self._parts.catalogue.read(name)
        if found is None:
            raise NotFound(f"no worker knows a function {name!r}")
        return found
