"""How many replicas of a deployment may be away at once while nodes are drained."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("deployments", "0015_schedule")]

    operations = [
        migrations.AddField(
            model_name="deployment",
            name="disruption_budget",
            field=models.JSONField(blank=True, default=dict),
        ),
    ]
