"""Django's Postgres backend with two things more: cursors whose statements Postgres plans once, and a check of kept
connections that costs no round trip.

A connection that Postgres has closed meanwhile (it was restarted, say) must cost no request. Django asks the server
about it each time, which is a third of what a short request waits for. But a server that closes a connection says so,
and what it said lies in our socket: to look there is enough. (A server whose machine is gone says nothing; then the
question would hang, too, until the socket's own timeouts end it.)
"""

import select
from collections.abc import Mapping
from typing import Any

import psycopg
from django.db.backends.postgresql import base
from django.db.backends.postgresql.operations import DatabaseOperations
from psycopg.types.numeric import Int8

from controlplane.database.patience import ImpatientConnection, silence

# More closed ones than this in a row are a Postgres that is not there: the next query says so.
MOST_TRIES = 100
# The pool's counter of connections that could not be made.
FAILED = "connections_errors"


class PreparedCursor(base.CursorMixin, psycopg.Cursor[Any]):
    """Runs each statement as one that is prepared: Postgres parses it once for each connection, and soon plans it once.

    For statements whose text never changes. Elsewhere Django writes the values into the text.
    """

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        """As any cursor's. Whole numbers are always of one type, else each length of one were another statement."""
        return super().execute(query, _typed(params), **options | {"prepare": True})


def _typed(params: Any) -> Any:
    if isinstance(params, Mapping):
        return {name: _wide(value) for name, value in params.items()}
    return None if params is None else [_wide(value) for value in params]


def _wide(value: Any) -> Any:
    return Int8(value) if type(value) is int else value


class Operations(DatabaseOperations):
    """Django's, which logs the text of prepared statements as well."""

    def last_executed_query(self, cursor: Any, sql: Any, params: Any) -> str:
        """The executed SQL, for debugging: of a prepared statement the text without the values."""
        return super().last_executed_query(cursor, sql, params) or str(sql)


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection to Postgres, or one that is lent from the pool of this process."""

    ops_class = Operations

    def prepared_cursor(self) -> Any:
        """A cursor as `cursor()` gives it, whose statements are prepared, unless `prepare_threshold` is None."""
        self.close_if_health_check_failed()
        self.ensure_connection()
        with self.wrap_database_errors:
            prepared = PreparedCursor(self.connection)
        return self._prepare_cursor(prepared)  # type: ignore[attr-defined]  # as `cursor` does

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """An open connection: those of the pool that were closed meanwhile are given back, to be replaced."""
        if self.pool is None:
            return super().get_new_connection(conn_params)
        with silence.asking() as trying:
            connection = self._lent(conn_params)
            if trying:
                self._try(connection)
        return connection

    def _lent(self, conn_params: dict[str, Any]) -> Any:
        failed = self.pool.get_stats().get(FAILED, 0)
        for _ in range(MOST_TRIES):
            try:
                connection = super().get_new_connection(conn_params)
            except psycopg.OperationalError:
                # Not because all are busy: Postgres takes no connections.
                if self.pool.get_stats().get(FAILED, 0) > failed:
                    silence.begin()
                raise
            if is_open(connection):
                break
            connection.close()
            self.pool.putconn(connection)
        return connection

    def _try(self, connection: ImpatientConnection) -> None:
        try:
            connection.answer()
        except psycopg.OperationalError:
            self.pool.putconn(connection)
            raise

    def _configure_connection(self, connection: Any) -> bool:
        if isinstance(connection, ImpatientConnection):
            connection.limit_statements()
        return bool(super()._configure_connection(connection))  # type: ignore[misc]

    def is_usable(self) -> bool:
        """Whether the connection is still open, asked before its first use in a request or a task."""
        return self.connection is not None and is_open(self.connection)


def is_open(connection: "psycopg.Connection[Any]") -> bool:
    """Whether the server has not closed this connection. Asks it only when it has said something unasked."""
    if connection.closed:
        return False
    look = select.poll()
    look.register(connection.fileno(), select.POLLIN)
    if not look.poll(0):
        return True
    try:
        # It may be a mere notice.
        connection.execute("")
    except psycopg.Error:
        return False
    return True
