"""The command line: `executions ...`, and the same as `celery -A app executions ...`."""

from executions.cli.app import celery_command, main

__all__ = ["celery_command", "main"]
