from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("deployments", "0016_disruption_budget")]

    operations = [
        migrations.AddField("target", "gateway", models.JSONField(blank=True, default=dict)),
    ]
