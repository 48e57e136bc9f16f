from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("deployments", "0020_object_health")]

    operations = [migrations.AddField("rollout", "passed", models.JSONField(default=list, blank=True))]
