"""Measurements: ours beside stock Celery, in one run, on one machine."""
