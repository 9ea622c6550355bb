"""Every Celery run becomes an execution you can see, follow, stop, limit and rerun."""

from executions.bulk import Bulk, BulkPlan
from executions.celery.install import install
from executions.client import Client
from executions.connect import connect
from executions.context import (
    Progress,
    acheckpoint,
    add_tag,
    checkpoint,
    current,
    load_state,
    log_metric,
    progress,
    save_state,
    set_property,
)
from executions.errors import (
    Changed,
    Conflict,
    ExecutionFailed,
    ExecutionsError,
    InvalidInput,
    InvalidQuery,
    InvalidSetting,
    NotFound,
    NotSerializable,
    PayloadMissing,
    Reset,
    StaleAttempt,
    Terminated,
    TimedOut,
    Unavailable,
    Unsupported,
    WaitTimeout,
)
from executions.execution import Attempt, Code, ErrorInfo, Execution, Note, StopRequest
from executions.exported import read_export
from executions.function import Function
from executions.service import Service
from executions.service_runner import ServiceRunner
from executions.settings import Settings
from executions.states import Reason, Status

__all__ = [
    "Attempt",
    "Bulk",
    "BulkPlan",
    "Changed",
    "Client",
    "Code",
    "Conflict",
    "ErrorInfo",
    "Execution",
    "ExecutionFailed",
    "ExecutionsError",
    "Function",
    "InvalidInput",
    "InvalidQuery",
    "InvalidSetting",
    "NotFound",
    "NotSerializable",
    "Note",
    "PayloadMissing",
    "Progress",
    "Reason",
    "Reset",
    "Service",
    "ServiceRunner",
    "Settings",
    "StaleAttempt",
    "Status",
    "StopRequest",
    "Terminated",
    "TimedOut",
    "Unavailable",
    "Unsupported",
    "WaitTimeout",
    "acheckpoint",
    "add_tag",
    "checkpoint",
    "connect",
    "current",
    "install",
    "load_state",
    "log_metric",
    "progress",
    "read_export",
    "save_state",
    "set_property",
]
