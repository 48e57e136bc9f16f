"""The pytest plugin that starts a real Postgres and a real Valkey before Django reads its settings.

Loaded by `-p tests.plugin` (pyproject.toml). Servers are started once a session, on free ports, in a temporary
directory; pytest-xdist workers share them, each with a database (a copy of `tests.template`'s) and a Redis number of
its own.
"""

import gc
import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from controlplane.embedded import ports, postgres, valkey
from controlplane.embedded.processes import spawn
from controlplane.embedded.stopping import stop
from controlplane.embedded.waiting import wait_for
from tests import template

# A well-known key, which is fine: what it encrypts lives as long as a test session.
FERNET_KEY = "ZmxvdGlsbGEtdGVzdHMtb25seS1mZXJuZXQta2V5ISE="
SERVICES_KEY = pytest.StashKey["Services"]()


class Services:
    """Postgres and Valkey of one test session."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="flotilla-test-"))
        self._template = self.directory / "template"
        self._password = "tests-only"
        data = self.directory / "postgres"
        self._pg_port = ports.free_port()
        redis_port = ports.free_port(frozenset({self._pg_port}))
        cache = valkey.command(self.directory / "valkey", redis_port, self._password, durable=False)
        self._valkey = spawn(cache, self.directory / "valkey.log")
        postgres.initialise(data, self._password)
        database = postgres.command(data, self._pg_port, durable=False, connections=200)
        self._postgres = spawn(database, self.directory / "postgres.log")
        self._commands = [(database, self._postgres), (cache, self._valkey)]
        wait_for(lambda: postgres.is_ready(data, self._postgres.pid), "the tests' Postgres to take connections")
        wait_for(lambda: valkey.is_ready(redis_port, self._password), "the tests' Valkey to answer")
        self.database_url = postgres.url(self._pg_port, self._password)
        self.redis_url = valkey.url(redis_port, self._password)

    def environment(self) -> dict[str, str]:
        """What Flotilla's settings read."""
        return {
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "FLOTILLA_ENV": "development",
            "FLOTILLA_SECRET_KEY": "tests-only-secret-key-tests-only-secret-key",
            "FLOTILLA_CREDENTIALS_KEYS": FERNET_KEY,
            "FLOTILLA_DATA_DIR": str(self.directory / "data"),
            "FLOTILLA_PUBLIC_URL": "http://testserver",
            "FLOTILLA_ALLOWED_HOSTS": "testserver,127.0.0.1,localhost",
            # Only what asks for it: it is a Python more for each run that begins.
            "FLOTILLA_LIST_PACKAGES": "false",
        }

    def share(self) -> dict[str, str]:
        """Begin to make the database that several processes copy; gives what they must know of it."""
        known = {template.ENDED: str(self._template)}
        made = template.command(self._pg_port, self._password, self.environment() | known)
        self._commands.append((made, spawn(made, self._template.with_suffix(".log"))))
        return known

    def close(self) -> None:
        """Stop both servers and remove what they wrote."""
        stop(self._commands, grace_s=5.0)
        shutil.rmtree(self.directory, ignore_errors=True)


def worker_number() -> int | None:
    """0 for gw0 and so on; None in a process that is no pytest-xdist worker."""
    name = os.environ.get("PYTEST_XDIST_WORKER", "")
    return int(name.removeprefix("gw")) if name.startswith("gw") else None


def pytest_collection_finish() -> None:
    """All that was imported stays: no collection of garbage during a test looks through it again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, object, object]:
    """Start the servers before pytest-django, which runs inside this wrapper, loads the settings."""
    number = worker_number()
    if number is None:
        services = Services()
        early_config.stash[SERVICES_KEY] = services
        early_config.add_cleanup(services.close)
        os.environ.update(services.environment())
        if getattr(early_config.known_args_namespace, "numprocesses", None):
            os.environ.update(services.share())
    else:
        # The controller's environment is ours. pytest-django gives each worker a database; Redis has 16 numbers.
        os.environ["REDIS_URL"] = os.environ["REDIS_URL"].rpartition("/")[0] + f"/{1 + number % 15}"
        os.environ["FLOTILLA_DATA_DIR"] += f"-gw{number}"
    return (yield)
