"""What `celery -A benchmarks.worker_app worker` of a benchmark imports."""

from benchmarks.fleet_apps import of_environment

app = of_environment()
