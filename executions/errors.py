"""Every error that the library raises, grouped by what the caller can do about it.

ExecutionsError
├── InvalidInput (ValueError)         correct the call
│   ├── InvalidSetting
│   ├── InvalidQuery
│   └── NotSerializable (TypeError)
├── NotFound (LookupError)            ask for something else
├── Conflict                          look at the current status first
│   ├── StaleAttempt
│   └── Changed
├── WaitTimeout (TimeoutError)        wait longer, or look why it takes so long
├── Unavailable (ConnectionError)     try again: the server could not be reached
├── Unsupported                       upgrade: the data or the server is of another version
├── PayloadMissing (LookupError)      make the payload store reachable from here
└── ExecutionFailed                   read the execution's error

Terminated (InterruptedError)         raised inside a function: stop
└── Reset                             its service was updated, and this version's time is over
TimedOut (TimeoutError)               raised inside a function: its time is up
"""

from __future__ import annotations


class ExecutionsError(Exception):
    """The base of all errors of this library."""


class InvalidInput(ExecutionsError, ValueError):
    """An argument cannot be used; the message names it."""


class InvalidSetting(InvalidInput):
    """A setting or policy value was refused; the message names it and says what is accepted."""


class InvalidQuery(InvalidInput):
    """A query, sort key or cursor cannot be used; `position` points into the query's text."""

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message, position)
        self.message = message
        self.position = position

    def __str__(self) -> str:
        return self.message if self.position is None else f"{self.message} (at position {self.position})"


class NotSerializable(InvalidInput, TypeError):
    """A value cannot be written as JSON; the message says which and where."""


class NotFound(ExecutionsError, LookupError):
    """No such execution, service or worker."""


class Conflict(ExecutionsError):
    """The execution's current status does not allow this."""


class StaleAttempt(Conflict):
    """Another attempt owns the execution by now; what this one wrote was refused."""


class Changed(Conflict):
    """It has changed since it was read; nothing was written."""


class WaitTimeout(ExecutionsError, TimeoutError):
    """The time given to `wait()` is over; the execution goes on."""


class Unavailable(ExecutionsError, ConnectionError):
    """The registry's server could not be reached or is not ready."""


class Unsupported(ExecutionsError):
    """The registry holds data of a newer version, or the server is too old."""


class PayloadMissing(ExecutionsError, LookupError):
    """A large value is not in the payload store that this process uses."""


class ExecutionFailed(ExecutionsError):
    """Stands in for an error whose type cannot be imported here.

    It carries what is known of the original: its type's name, its text and its traceback.
    """

    def __init__(self, type_name: str, message: str, traceback: str | None = None) -> None:
        super().__init__(type_name, message, traceback)
        self.type_name = type_name
        self.message = message
        self.traceback = traceback

    def __str__(self) -> str:
        return f"{self.type_name}: {self.message}"


class Terminated(ExecutionsError, InterruptedError):
    """The execution received a termination signal. Raised again at each checkpoint until the code stops."""


class Reset(Terminated):
    """The service was updated and the old version's time is over. Raised like `Terminated`."""


class TimedOut(ExecutionsError, TimeoutError):
    """The execution reached its time limit. Raised again at each checkpoint until the code stops."""
