"""Attributes that are computed when first looked at, without a lock.

Python's own `cached_property` held a lock for all instances until 3.12: a child that is forked while another
thread computes one would wait for ever. Here two threads may both compute; the first one's value is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class lazy(Generic[T]):
    """A property that computes its value once for each instance."""

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self._name = compute.__name__
        self.__doc__ = compute.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> lazy[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> T | lazy[T]:
        if instance is None:
            return self
        # Not a data descriptor: the next look finds the value in the instance and never comes here.
        value: T = instance.__dict__.setdefault(self._name, self._compute(instance))
        return value
