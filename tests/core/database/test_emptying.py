"""The tests' own way of emptying the database leaves nothing behind, whatever was in it."""

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection

from tests import factories
from tests.emptying import KEPT, empty


@pytest.mark.django_db(transaction=True)
def test_no_row_is_left_of_what_was_committed_and_what_migrations_made_is_there_still() -> None:
    factories.busy_project(size=2)
    types = ContentType.objects.count()
    assert {"core_project", "experiments_run", "clusters_pod"} <= set(empty()) and types
    with connection.cursor() as cursor:
        for table in connection.introspection.django_table_names(only_existing=True):
            cursor.execute(f"SELECT count(*) FROM {connection.ops.quote_name(table)}")
            assert cursor.fetchone()[0] == 0 or table in KEPT, table
        cursor.execute("SHOW session_replication_role")
        assert cursor.fetchone()[0] == "origin"
    assert ContentType.objects.count() == types
