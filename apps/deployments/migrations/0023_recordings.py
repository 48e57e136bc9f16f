import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("deployments", "0022_refused")]

    operations = [
        migrations.AddField("analysisrun", "answers", models.JSONField(default=list)),
        migrations.CreateModel(
            name="Recording",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                ("name", models.CharField(blank=True, max_length=60)),
                ("body", models.TextField()),
                ("digest", models.CharField(max_length=64)),
                ("inputs", models.CharField(max_length=200)),
                ("revision", models.PositiveIntegerField()),
                ("created_by", models.CharField(blank=True, max_length=200)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "deployment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="recordings",
                        to="deployments.deployment",
                    ),
                ),
            ],
            options={
                "ordering": ["number"],
                "constraints": [
                    models.UniqueConstraint(fields=("deployment", "number"), name="recording_number_in_deployment"),
                    models.UniqueConstraint(fields=("deployment", "digest"), name="recording_once_in_deployment"),
                ],
            },
        ),
    ]
