import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("deployments", "0023_recordings")]

    operations = [
        migrations.CreateModel(
            name="KeptLog",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("target", models.CharField(max_length=40)),
                ("replica", models.CharField(max_length=253)),
                ("container", models.CharField(max_length=63)),
                ("previous", models.BooleanField(default=False)),
                ("why", models.CharField(blank=True, max_length=200)),
                ("text", models.TextField()),
                ("taken_at", models.DateTimeField(auto_now_add=True)),
                (
                    "rollout",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="kept_logs",
                        to="deployments.rollout",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "constraints": [
                    models.UniqueConstraint(fields=("rollout", "target", "replica"), name="kept_log_of_replica")
                ],
            },
        ),
    ]
