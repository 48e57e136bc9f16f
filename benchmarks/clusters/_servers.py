"""A Postgres and a Valkey of the benchmark's own, with Django on them."""

import contextlib
import os
from collections.abc import Iterator

from tests.plugin import Services


@contextlib.contextmanager
def own_servers() -> Iterator[dict[str, str]]:
    """Start both, set Django up on an empty, migrated database, and stop them in the end; yields the environment."""
    services = Services()
    try:
        os.environ.update(services.environment())
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
        import django
        import psycopg
        from django.core.management import call_command

        server, _, name = services.database_url.rpartition("/")
        with psycopg.connect(f"{server}/postgres", autocommit=True) as link:
            link.execute(f'CREATE DATABASE "{name.partition("?")[0]}"')
        django.setup()
        call_command("migrate", verbosity=0)
        yield services.environment()
    finally:
        services.close()
