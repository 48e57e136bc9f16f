"""The Django app of clusters."""

from django.apps import AppConfig


class ClustersConfig(AppConfig):
    """Configuration of `apps.clusters`."""

    name = "apps.clusters"
    label = "clusters"

    def ready(self) -> None:
        """Give rows to the overview, counts to the rail and answers to the search."""
        from apps.clusters import overview

        overview.connect()
