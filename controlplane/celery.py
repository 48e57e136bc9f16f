"""The Celery app. A worker's threads do what `core.work` holds; the one task there is rings them."""

import os

from celery import Celery
from celery.signals import worker_init

from apps.core.work.steps import Crews
from controlplane.fitness import refuse_unfit_settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

app = Celery("flotilla")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.steps["worker"].add(Crews)
worker_init.connect(refuse_unfit_settings)
