"""Celery tasks of core: the ring. Celery finds them here; the rest of the queue is in `core.work`."""

from apps.core.work.steps import drain

__all__ = ["drain"]
