"""The Django app of projects, people, tokens, audit and everything that the other apps share."""

from django.apps import AppConfig


class CoreConfig(AppConfig):
    """Configuration of `apps.core`."""

    name = "apps.core"
    label = "core"

    def ready(self) -> None:
        """Register what is done now and then."""
        from apps.core import tidying
        from apps.core.work import register
        from apps.core.work.resync import EVERY, RESYNC, resync

        register(RESYNC, resync, every=EVERY)
        register("core-tidy", tidying.tidy, every=60.0)
