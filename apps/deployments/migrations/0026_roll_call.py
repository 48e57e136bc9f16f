from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("deployments", "0025_analysis_of_the_whole"),
    ]

    operations = [
        migrations.AddField("placement", "roll_call", models.JSONField(blank=True, default=dict)),
        migrations.AddField("heal", "losses", models.JSONField(blank=True, default=list)),
    ]
