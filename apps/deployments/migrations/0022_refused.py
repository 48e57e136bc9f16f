from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("deployments", "0021_passed")]

    operations = [
        migrations.AddField(model_name="placement", name="refused", field=models.JSONField(blank=True, default=dict)),
    ]
