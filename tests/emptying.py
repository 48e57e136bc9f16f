"""Emptying the database after a test that commits.

Django's own way truncates every table, which makes hundreds of files anew, and announces a migration, upon which
content types and permissions are written once more. Most tests touch a few tables: only those are emptied.
"""

from django.db import connections, transaction
from django.test import TransactionTestCase

# Rows that migrations have made, and that no test changes.
KEPT = frozenset({"django_content_type", "auth_permission", "django_migrations"})


def empty(alias: str = "default") -> list[str]:
    """Delete all rows of all models; returns the names of the tables that had some."""
    connection = connections[alias]
    tables = set(connection.introspection.django_table_names(only_existing=True, include_views=False)) - KEPT
    names = {table: connection.ops.quote_name(table) for table in sorted(tables)}
    look = " UNION ALL ".join(f"SELECT '{table}' WHERE EXISTS (SELECT FROM {name})" for table, name in names.items())
    with transaction.atomic(using=alias), connection.cursor() as cursor:
        cursor.execute(look)
        filled = [table for (table,) in cursor.fetchall()]
        # All of them are emptied, so that no order has to be kept and no trigger has to run.
        cursor.execute("SET LOCAL session_replication_role = replica")
        for table in filled:
            cursor.execute(f"DELETE FROM {names[table]}")
    return filled


def install() -> None:
    """Let every test that commits end so."""

    def teardown(self: TransactionTestCase) -> None:
        for alias in self._databases_names(include_mirrors=False):
            empty(alias)

    TransactionTestCase._fixture_teardown = teardown
