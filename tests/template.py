"""The migrated database that pytest-xdist's processes copy: migrating one takes seconds, and each process wants one.

It is made by a process of its own while the others collect their tests, and its file says when that has ended, and how.
"""

import os
import sys
import traceback
from pathlib import Path

import psycopg

from controlplane.embedded import postgres
from controlplane.embedded.errors import EmbeddedError
from controlplane.embedded.fleet import BASE_DIR
from controlplane.embedded.processes import Command
from controlplane.embedded.waiting import wait_for

NAME = "flotilla_template"
# Names the file, where there are several processes.
ENDED = "FLOTILLA_TESTS_TEMPLATE"
# Seconds, below what a test may take.
PATIENCE_S = 200.0


def command(port: int, password: str, environment: dict[str, str]) -> Command:
    """How to make it; `environment` has Flotilla's settings and `ENDED`."""
    server = {
        "DATABASE_URL": postgres.url(port, password, NAME),
        "SERVER_URL": postgres.url(port, password, "postgres"),
    }
    return Command("template", (sys.executable, "-m", "tests.template"), env=environment | server, cwd=BASE_DIR)


def awaited() -> str | None:
    """The name of the database to copy, once it is there; None where there is one process, which makes its own.

    Raises EmbeddedError when it could not be made, or not in time.
    """
    path = os.environ.get(ENDED)
    if path is None:
        return None
    ended = Path(path)
    wait_for(ended.exists, "the migrated database to be made", timeout=PATIENCE_S)
    if error := ended.read_text():
        raise EmbeddedError(f"The migrated database could not be made.\n{error}")
    return NAME


def main() -> None:
    """Make the database, and say so or why not."""
    error = ""
    try:
        _make()
    except BaseException:
        error = traceback.format_exc()
        raise
    finally:
        ended = Path(os.environ[ENDED])
        written = ended.with_suffix(".new")
        written.write_text(error)
        written.rename(ended)


def _make() -> None:
    import django
    from django.core.management import call_command
    from django.db import connection

    with psycopg.connect(os.environ["SERVER_URL"], autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{NAME}"')
    os.environ["DJANGO_SETTINGS_MODULE"] = "controlplane.settings"
    django.setup()
    call_command("migrate", verbosity=0, interactive=False, run_syncdb=True)
    # Nobody can copy a database while somebody is connected to it.
    connection.close()


if __name__ == "__main__":
    main()
