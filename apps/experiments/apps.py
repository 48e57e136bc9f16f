"""The Django app of experiments."""

from django.apps import AppConfig


class ExperimentsConfig(AppConfig):
    """Configuration of `apps.experiments`."""

    name = "apps.experiments"
    label = "experiments"
