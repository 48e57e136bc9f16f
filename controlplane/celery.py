"""The Celery app: short tasks, acknowledged late, one prefetched, so that a killed worker loses nothing."""

import os

from celery import Celery
from celery.signals import beat_init, worker_init

from apps.core.heartbeat import WorkerHeartbeat
from controlplane.fitness import refuse_unfit_settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

app = Celery("flotilla")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.steps["worker"].add(WorkerHeartbeat)
worker_init.connect(refuse_unfit_settings)
beat_init.connect(refuse_unfit_settings)
