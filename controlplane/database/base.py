"""Django's Postgres backend with a check of kept connections that costs no round trip.

A connection that Postgres has closed meanwhile (it was restarted, say) must cost no request. Django asks the server
about it each time, which is a third of what a short request waits for. But a server that closes a connection says so,
and what it said lies in our socket: to look there is enough. (A server whose machine is gone says nothing; then the
question would hang, too, until the socket's own timeouts end it.)
"""

import select
from typing import Any

import psycopg
from django.db.backends.postgresql import base

# More closed ones than this in a row are a Postgres that is not there: the next query says so.
MOST_TRIES = 100


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection to Postgres, or one that is lent from the pool of this process."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """An open connection: those of the pool that were closed meanwhile are given back, to be replaced."""
        for _ in range(MOST_TRIES):
            connection = super().get_new_connection(conn_params)
            if self.pool is None or is_open(connection):
                break
            connection.close()
            self.pool.putconn(connection)
        return connection

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
