"""GPUs by kind, and what a node has before the system's share."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    """Adds the columns; the watcher fills them at its next list."""

    dependencies: ClassVar = [("clusters", "0004_check")]

    operations: ClassVar = [
        migrations.AddField("node", "allocatable_gpus", models.JSONField(default=dict)),
        migrations.AddField("node", "capacity", models.JSONField(default=dict)),
        migrations.AddField("pod", "requests_gpus", models.JSONField(default=dict)),
        migrations.AddIndex(
            "pod",
            models.Index(
                fields=["cluster"],
                condition=models.Q(("deleted_at", None), ("health", "Degraded")),
                name="pod_failing",
            ),
        ),
        migrations.AddIndex(
            "pod",
            models.Index(
                fields=["cluster"],
                condition=models.Q(("deleted_at", None), ("reason", "Unschedulable")),
                name="pod_unplaced",
            ),
        ),
        # A row is written again only when its version differs: without one, the next list fills the new columns.
        migrations.RunSQL(
            [
                "UPDATE clusters_node SET resource_version = ''",
                "UPDATE clusters_pod SET resource_version = '' WHERE requests_gpu > 0",
            ],
            migrations.RunSQL.noop,
        ),
    ]
