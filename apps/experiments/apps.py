"""The Django app of experiments."""

from django.apps import AppConfig


class ExperimentsConfig(AppConfig):
    """Configuration of `apps.experiments`."""

    name = "apps.experiments"
    label = "experiments"

    def ready(self) -> None:
        """Give rows to the overview, counts to the rail and answers to the search."""
        from apps.experiments import overview

        overview.connect()
