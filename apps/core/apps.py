"""The Django app of projects, people, tokens, audit and everything that the other apps share."""

from django.apps import AppConfig


class CoreConfig(AppConfig):
    """Configuration of `apps.core`."""

    name = "apps.core"
    label = "core"
