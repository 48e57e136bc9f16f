"""Transactions: none open across a call to a cluster, and one around what is shown together."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction
from psycopg import IsolationLevel


def refuse_open_transaction() -> None:
    """Raise RuntimeError inside a transaction: code that calls a cluster there has a defect.

    It would hold its locks for as long as the cluster is silent. A test's own transaction does not count, as in
    Django's `atomic(durable=True)`.
    """
    if any(not getattr(block, "_from_testcase", False) for block in connection.atomic_blocks):
        raise RuntimeError("A cluster must not be called while a transaction is open.")


@contextmanager
def snapshot() -> Iterator[None]:
    """All that is read meanwhile is of one moment, so that what is shown together does not contradict itself.

    Also a decorator. Nothing may be written meanwhile, and no cluster called. Inside a transaction it does nothing: who
    has begun that holds what they show.
    """
    if connection.in_atomic_block:
        yield
        return
    # As before any statement: else the transaction might begin on another connection.
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    wire = connection.connection
    # Told with BEGIN: a statement of its own would be one more way to Postgres and back.
    former, wire.isolation_level = wire.isolation_level, IsolationLevel.REPEATABLE_READ
    try:
        with transaction.atomic():
            yield
    finally:
        if not wire.closed:
            wire.isolation_level = former
