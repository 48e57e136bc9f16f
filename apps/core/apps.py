"""The Django app of projects, people, tokens, audit and everything that the other apps share."""

from django.apps import AppConfig


class CoreConfig(AppConfig):
    """Configuration of `apps.core`."""

    name = "apps.core"
    label = "core"
    verbose_name = "Platform"

    def ready(self) -> None:
        """Register what is done now and then, and what log lines say of a request."""
        from django_structlog.signals import bind_extra_request_metadata

        from apps.core.models import Project
        from apps.core.pages import objects
        from apps.core.pages.middleware import name_the_peer
        from apps.core.services import tidying
        from apps.core.work import register
        from apps.core.work.resync import EVERY, RESYNC, resync

        register(RESYNC, resync, every=EVERY)
        objects.register(Project, objects.of_projects)
        bind_extra_request_metadata.connect(name_the_peer)
        register("core-tidy", tidying.tidy, every=60.0)
