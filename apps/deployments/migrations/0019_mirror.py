from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("deployments", "0018_chosen")]

    operations = [
        migrations.AddField("placement", "mirror", models.PositiveSmallIntegerField(default=0)),
        migrations.AddField("stage", "mirror", models.PositiveSmallIntegerField(default=0)),
    ]
