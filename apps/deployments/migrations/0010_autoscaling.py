"""The autoscaling policy of a deployment."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("deployments", "0009_metrics_sources")]

    operations: ClassVar = [
        migrations.AddField("deployment", "autoscaling", models.JSONField(blank=True, default=dict)),
    ]
