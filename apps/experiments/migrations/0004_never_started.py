"""Launched runs that never started lose the epoch that a container runtime wrote for their start."""

from django.db import migrations

# Kubernetes is younger than this.
FORGET = """
UPDATE {table} SET started_at = NULL WHERE started_at < '2014-01-01T00:00:00Z' {only};
"""


class Migration(migrations.Migration):
    dependencies = [("experiments", "0003_attempts")]

    operations = [
        migrations.RunSQL(FORGET.format(table="experiments_attempt", only=""), migrations.RunSQL.noop),
        migrations.RunSQL(FORGET.format(table="experiments_run", only="AND kind = 'launched'"), migrations.RunSQL.noop),
    ]
