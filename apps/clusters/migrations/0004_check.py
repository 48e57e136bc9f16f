from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("clusters", "0003_usage"),
    ]

    operations = [
        migrations.AddField(
            model_name="cluster",
            name="check_report",
            field=models.JSONField(blank=True, default=dict, editable=False),
        ),
        migrations.AddField(
            model_name="cluster",
            name="checked_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
    ]
