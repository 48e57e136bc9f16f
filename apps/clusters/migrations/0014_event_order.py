"""Events that were told within one second, in the order in which they were written."""

from django.db import migrations, models

FILL = """
UPDATE clusters_kubeevent
SET last_at = date_trunc('second', last_at),
    written = CASE WHEN resource_version ~ '^[0-9]{1,18}$' THEN resource_version::bigint ELSE 0 END
"""


class Migration(migrations.Migration):
    dependencies = [("clusters", "0013_model_cache")]

    operations = [
        migrations.AddField("kubeevent", "written", models.BigIntegerField(default=0, db_default=0)),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        migrations.AlterModelOptions("kubeevent", {"ordering": ["-last_at", "-written", "-id"]}),
        migrations.RemoveIndex("kubeevent", "event_by_age"),
        migrations.AddIndex(
            "kubeevent", models.Index(fields=["cluster", "-last_at", "-written"], name="event_by_time")
        ),
    ]
