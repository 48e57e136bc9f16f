"""The Django app of clusters."""

from django.apps import AppConfig


class ClustersConfig(AppConfig):
    """Configuration of `apps.clusters`."""

    name = "apps.clusters"
    label = "clusters"
