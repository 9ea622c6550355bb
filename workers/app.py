"""The app that the fleet runs when nobody names another one."""

from __future__ import annotations

from celery import Celery

import executions
from executions.dispatch import use_broker
from executions.settings import Settings
from workers.samples import QUEUE

settings = Settings.from_env()

app = Celery("executions", include=["workers.samples"])
use_broker(app, settings.broker_url)

# A queue of their own: workers of another app on the same server would reject the samples, and these theirs.
app.conf.task_default_queue = QUEUE

client = executions.install(app, registry=settings.url)
