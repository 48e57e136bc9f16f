"""Windows of time in which a deployment has other numbers of replicas."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("deployments", "0014_following")]

    operations = [
        migrations.AddField(
            model_name="deployment",
            name="schedule",
            field=models.JSONField(blank=True, default=list),
        ),
    ]
