"""The points of runs that have ended are packed; a view shows them with the others."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

VIEW = """
CREATE VIEW experiments_point AS
SELECT run_id, key, step, "timestamp", value FROM experiments_metricpoint
UNION ALL
SELECT packed.run_id, packed.key, point.step, point."timestamp", point.value
FROM experiments_packedpoints AS packed,
  unnest(packed.steps, packed.timestamps, packed.values) AS point(step, "timestamp", value)
"""
# Back again, every point is one by one.
LOOSE = """
INSERT INTO experiments_metricpoint (run_id, key, step, "timestamp", value)
SELECT packed.run_id, packed.key, point.step, point."timestamp", point.value
FROM experiments_packedpoints AS packed,
  unnest(packed.steps, packed.timestamps, packed.values) AS point(step, "timestamp", value)
ON CONFLICT DO NOTHING
"""


class Migration(migrations.Migration):
    dependencies = [("experiments", "0012_keys_in_place_of_numbers")]
    operations = [
        migrations.AddField("run", "packing", models.SmallIntegerField(db_default=0, default=0, editable=False)),
        migrations.AddIndex(
            "run",
            models.Index(
                fields=["ended_at"],
                condition=models.Q(ended_at__isnull=False, packing__lt=2),
                name="run_to_pack",
            ),
        ),
        migrations.CreateModel(
            name="PackedPoints",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "run_id", "key", "part", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("key", models.CharField(db_collation="C", max_length=250)),
                ("part", models.PositiveIntegerField()),
                ("first_step", models.BigIntegerField()),
                ("last_step", models.BigIntegerField()),
                ("last_timestamp", models.BigIntegerField()),
                ("last_value", models.FloatField()),
                ("steps", django.contrib.postgres.fields.ArrayField(models.BigIntegerField())),
                ("timestamps", django.contrib.postgres.fields.ArrayField(models.BigIntegerField())),
                ("values", django.contrib.postgres.fields.ArrayField(models.FloatField())),
                (
                    "run",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="experiments.run",
                    ),
                ),
            ],
            options={"ordering": ["run", "key", "part"]},
        ),
        migrations.RunSQL(VIEW, "DROP VIEW experiments_point"),
        migrations.RunSQL(migrations.RunSQL.noop, LOOSE),
    ]
