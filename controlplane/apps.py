"""The project's own Django app: system checks and management commands that span all apps."""

from django.apps import AppConfig


class ControlplaneConfig(AppConfig):
    """Registers the system checks of `controlplane.checks`."""

    name = "controlplane"
    label = "controlplane"

    def ready(self) -> None:
        """Import the checks so that Django knows them."""
        from controlplane import checks  # noqa: F401
