"""What the library adds to a Celery worker."""
