"""The Django app of deployments."""

from django.apps import AppConfig


class DeploymentsConfig(AppConfig):
    """Configuration of `apps.deployments`."""

    name = "apps.deployments"
    label = "deployments"
