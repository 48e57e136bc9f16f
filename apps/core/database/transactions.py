"""No transaction is open across a call to a cluster: it would hold its locks for as long as the cluster is silent."""

from django.db import connection


def refuse_open_transaction() -> None:
    """Raise RuntimeError inside a transaction: code that calls a cluster there has a defect.

    A test's own transaction does not count, as in Django's `atomic(durable=True)`.
    """
    if any(not getattr(block, "_from_testcase", False) for block in connection.atomic_blocks):
        raise RuntimeError("A cluster must not be called while a transaction is open.")
