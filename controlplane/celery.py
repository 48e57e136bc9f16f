"""The Celery app: short tasks, acknowledged late, one prefetched, so that a killed worker loses nothing."""

import os

from celery import Celery

from apps.core.heartbeat import WorkerHeartbeat

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

app = Celery("flotilla")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.steps["worker"].add(WorkerHeartbeat)
