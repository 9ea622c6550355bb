"""How Celery sees the library, and how the library sees Celery: through public hooks only."""
