"""The Django project. Importing it makes the Celery app current, or `shared_task` would talk to AMQP."""

from controlplane.celery import app as celery_app

__all__ = ["celery_app"]
