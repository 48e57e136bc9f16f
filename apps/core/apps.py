"""The Django app of projects, people, tokens, audit and everything that the other apps share."""

from typing import Any

from celery.signals import worker_process_shutdown
from django.apps import AppConfig


class CoreConfig(AppConfig):
    """Configuration of `apps.core`."""

    name = "apps.core"
    label = "core"

    def ready(self) -> None:
        """Let a worker's child publish its last hints: it ends without what `atexit` would do."""
        worker_process_shutdown.connect(_publish_last_hints)


def _publish_last_hints(**_: Any) -> None:
    from apps.core import hints  # needs the settings

    hints.flush()
