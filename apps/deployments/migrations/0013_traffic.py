from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("deployments", "0012_spread")]

    operations = [
        migrations.AddField("placement", "phase", models.CharField(blank=True, max_length=16)),
        migrations.AddField("placement", "traffic", models.JSONField(blank=True, default=dict)),
        migrations.AddField("stage", "phase", models.CharField(blank=True, max_length=16)),
    ]
