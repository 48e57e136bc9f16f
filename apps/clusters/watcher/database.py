"""Runs SQL of Django's ORM on threads, so that the event loop never waits for Postgres."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import DEFAULT_DB_ALIAS, InterfaceError, InternalError, OperationalError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

P = ParamSpec("P")
T = TypeVar("T")


class Database:
    """A few threads, each with its own connection."""

    def __init__(self, threads: int = 4) -> None:
        self._connections: list[BaseDatabaseWrapper] = []
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="database", initializer=self._remember)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of `work`, called on one of the threads. Raises what it raises."""

        def call() -> T:
            try:
                return work(*args, **kwargs)
            except (OperationalError, InterfaceError, InternalError):
                # The server went away, or ended our session because we were stopped: the next call opens a new one.
                connection.close()
                raise

        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    async def close(self) -> None:
        """Wait for what runs, and close the connections."""
        await asyncio.get_running_loop().run_in_executor(None, self._shut)

    def _remember(self) -> None:
        self._connections.append(connections[DEFAULT_DB_ALIAS])

    def _shut(self) -> None:
        self._pool.shutdown()
        for opened in self._connections:
            # Django lets only the thread that opened a connection close it; these threads have ended.
            opened.inc_thread_sharing()
            opened.close()
