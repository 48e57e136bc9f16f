from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("deployments", "0017_gateway")]

    operations = [
        migrations.AddField("placement", "chosen", models.JSONField(blank=True, default=dict)),
    ]
