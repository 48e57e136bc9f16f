"""A Postgres, a Valkey and programs of ours for a benchmark, in a temporary directory that goes away with them."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import psycopg

from controlplane.embedded import ports, postgres, valkey
from controlplane.embedded.fleet import BASE_DIR
from controlplane.embedded.processes import Command, spawn
from controlplane.embedded.stopping import Running, stop
from controlplane.embedded.waiting import wait_for

PASSWORD = "benchmarks-only"


class Servers:
    """Starts both, as durable as in production, and migrates. Use as a context."""

    def __init__(self, **options: str) -> None:
        """`options` are settings of Postgres."""
        self.directory = Path(tempfile.mkdtemp(prefix="flotilla-bench-"))
        self._options = options
        self._running: list[Running] = []

    def __enter__(self) -> "Servers":
        try:
            self._start()
            self.run("manage.py", "migrate", "--verbosity=0")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The newest first: the users of a server end before it.
        for running in reversed(self._running):
            stop([running], grace_s=10.0)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _start(self) -> None:
        database, cache = ports.free_port(), ports.free_port()
        data = self.directory / "postgres"
        postgres.initialise(data, PASSWORD)
        command = postgres.command(data, database, connections=100)
        settings = [part for name, value in self._options.items() for part in ("-c", f"{name}={value}")]
        server = self.spawn(replace(command, argv=(*command.argv, *settings)))
        self.spawn(valkey.command(self.directory / "valkey", cache, PASSWORD))
        wait_for(lambda: postgres.is_ready(data, server.pid), "Postgres to take connections")
        wait_for(lambda: valkey.is_ready(cache, PASSWORD), "Valkey to answer")
        self.database_url = postgres.url(database, PASSWORD)
        self.redis_url = valkey.url(cache, PASSWORD)
        with psycopg.connect(postgres.url(database, PASSWORD, "postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {postgres.USER}")

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that Flotilla's settings read."""
        return {
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "FLOTILLA_ENV": "development",
            "FLOTILLA_SECRET_KEY": "benchmarks-only-secret-key-benchmarks-only",
            "FLOTILLA_CREDENTIALS_KEYS": "YmVuY2htYXJrcy1vbmx5LWZlcm5ldC1rZXktLS0tLS0=",
            "FLOTILLA_DATA_DIR": str(self.directory / "data"),
            "FLOTILLA_LOG_LEVEL": "WARNING",
        }

    def run(self, *arguments: str, text: str = "") -> None:
        """A program of ours with `text` as its input, until it ends. Raises CalledProcessError."""
        environment = {**os.environ, **self.environment}
        command = [sys.executable, *arguments]
        subprocess.run(command, cwd=BASE_DIR, env=environment, input=text, text=True, check=True, timeout=600)

    def start(self, name: str, *arguments: str) -> "subprocess.Popen[bytes]":
        """A program of ours that runs until `end` or the end of all."""
        command = Command(name, (sys.executable, *arguments), env=self.environment, cwd=BASE_DIR)
        return self.spawn(command)

    def end(self, process: "subprocess.Popen[bytes]") -> None:
        """Ask one of them to end, and wait."""
        ending = [running for running in self._running if running[1] is process]
        stop(ending, grace_s=15.0)
        with contextlib.suppress(ValueError):
            self._running.remove(ending[0])

    def lose(self, name: str) -> Callable[[], None]:
        """Kill a program without a warning; the function that is returned starts it again, on the data that it had."""
        place, (command, process) = next(
            (place, running) for place, running in enumerate(self._running) if running[0].name == name
        )
        process.kill()
        process.wait()

        def bring_back() -> None:
            # Not by `spawn`, whose child does something between fork and exec: by now we may have threads.
            log = (self.directory / f"{name}.log").open("ab")
            again = subprocess.Popen(command.argv, env={**os.environ, **command.env}, stdout=log, stderr=log)
            self._running[place] = (command, again)

        return bring_back

    def pid(self, name: str) -> int:
        """The number of the process that a program is now."""
        return next(process.pid for command, process in self._running if command.name == name)

    def log(self, name: str) -> str:
        """The output of a program so far."""
        return (self.directory / f"{name}.log").read_text()

    def spawn(self, command: Command) -> "subprocess.Popen[bytes]":
        """Any program that runs until the end of all."""
        process = spawn(command, self.directory / f"{command.name}.log")
        self._running.append((command, process))
        return process


@contextlib.contextmanager
def django_on_own_servers() -> Iterator[Servers]:
    """Django in this very process, on servers of its own."""
    with Servers() as servers:
        os.environ.update(servers.environment)
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
        import django

        django.setup()
        yield servers
