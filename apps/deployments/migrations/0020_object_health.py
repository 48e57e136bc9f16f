from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("deployments", "0019_mirror")]

    operations = [
        migrations.AddField("appliedobject", "health", models.CharField(blank=True, max_length=16)),
        migrations.AddField("appliedobject", "message", models.TextField(blank=True)),
    ]
