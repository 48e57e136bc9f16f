"""How long a web process waits for Postgres: a request gets its answer within seconds, whatever has become of it.

Postgres itself ends a statement that takes too long, and says so. One that is frozen, or whose machine is gone, says
nothing: keepalives don't help, for the kernel answers those. So the client stops waiting, too, a little later. From
then on one caller at a time finds out whether Postgres answers again, and all others are told at once that it does not:
otherwise every open page would hold a thread for seconds, until no thread were left.

Only processes with a pool are so impatient. What is slow by right, such as migrations, runs elsewhere.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import psycopg
from psycopg.abc import PQGen

# Seconds that a request waits for a free connection of the pool: all are busy, or a new one can't be made.
POOL_SECONDS = 3.0
# Seconds for making a connection: less than POOL_SECONDS, so that a request that waits for one learns why it fails.
CONNECT_SECONDS = 2
# Seconds by which we are more patient than Postgres. After so long it is not slow, but silent.
GRACE_SECONDS = 1.0
# Seconds that Postgres has to answer whoever finds out whether it answers again.
TRY_SECONDS = 2.0
# Seconds after which the next one finds out.
PAUSE_SECONDS = 1.0


class Silence:
    """Whether Postgres was silent when it was last asked. One for a process; any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next_try: float | None = None

    def begin(self) -> None:
        """It did not answer."""
        with self._lock:
            self._next_try = monotonic() + PAUSE_SECONDS

    @contextmanager
    def asking(self) -> Iterator[bool]:
        """Says whether the caller has to find out if Postgres answers again; if it raises nothing, it does.

        Raises OperationalError at once where Postgres is silent and it is somebody else's turn to find out.
        """
        with self._lock:
            trying = self._next_try is not None
            if self._next_try is not None:
                if monotonic() < self._next_try:
                    raise psycopg.OperationalError("Postgres did not answer a moment ago.")
                self._next_try = monotonic() + POOL_SECONDS + TRY_SECONDS + PAUSE_SECONDS
        try:
            yield trying
        except psycopg.OperationalError:
            if trying:
                self.begin()
            raise
        if trying:
            with self._lock:
                self._next_try = None


silence = Silence()


class ImpatientConnection(psycopg.Connection[Any]):
    """A connection whose statements take at most `statement_seconds`. `limited_to` makes a class with others."""

    statement_seconds = 5.0
    _being_tried = False

    def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        """As any connection's. Closes itself and raises OperationalError when Postgres is silent for too long."""
        patience = TRY_SECONDS if self._being_tried else self.statement_seconds + GRACE_SECONDS
        try:
            return super().wait(gen, interval, patience if timeout is None else min(timeout, patience))
        except psycopg.errors._WaitTimeout as error:
            self.pgconn.finish()
            silence.begin()
            raise psycopg.OperationalError(f"Postgres did not answer within {patience:g} s.") from error

    def limit_statements(self) -> None:
        """Let Postgres itself end what takes too long. By a statement: poolers refuse it as an option of a start."""
        self.execute(f"SET statement_timeout = {self.statement_seconds * 1000:.0f}")

    def answer(self) -> None:
        """Raises OperationalError unless Postgres answers within TRY_SECONDS."""
        self._being_tried = True
        try:
            self.execute("SELECT 1")
        finally:
            self._being_tried = False


def limited_to(seconds: float) -> type[ImpatientConnection]:
    """The class of connections whose statements take at most so long."""
    return type("ImpatientConnection", (ImpatientConnection,), {"statement_seconds": seconds})


def pool_of(size: int, statement_seconds: float) -> dict[str, Any]:
    """A web process's pool, as Django's setting of that name takes it: `size` connections at most.

    A connection that can't be made is given up at once, and the next request tries again. The pool's own attempts come
    ever more seldom, so that requests would fail for a minute more when Postgres has long been there again.
    """
    return {
        "min_size": 1,
        "max_size": size,
        "timeout": POOL_SECONDS,
        "reconnect_timeout": 0,
        "connection_class": limited_to(statement_seconds),
    }
