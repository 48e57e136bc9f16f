"""The packages that were installed where a run ran."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("experiments", "0022_kept_objects")]

    operations = [
        migrations.CreateModel(
            name="RunPackages",
            fields=[
                (
                    "run",
                    models.OneToOneField(
                        on_delete=models.deletion.CASCADE,
                        primary_key=True,
                        related_name="packages",
                        serialize=False,
                        to="experiments.run",
                    ),
                ),
                ("path", models.CharField(max_length=1000)),
                ("whole", models.BooleanField()),
                ("versions", models.JSONField(default=dict)),
            ],
            options={"verbose_name_plural": "packages of runs"},
        ),
    ]
