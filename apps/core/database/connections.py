"""The web process's pool of database connections, and calls that may take long."""

from django.db import connection


def let_go() -> None:
    """Give this thread's database connection back to the pool; the next query takes one again.

    Every call to a cluster does so first (`kube.transport`), and so does whoever looks a name up or sleeps: otherwise
    as many callers as the pool has connections would hold up every page. Does nothing inside a transaction, or where
    there is no pool.
    """
    if connection.settings_dict["OPTIONS"].get("pool") and not connection.in_atomic_block:
        connection.close()
