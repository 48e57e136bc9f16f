"""What runs were given: datasets, and models that others had logged."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("experiments", "0008_sources_elsewhere_and_stages"),
    ]

    operations = [
        migrations.CreateModel(
            name="Dataset",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=500)),
                ("digest", models.CharField(max_length=36)),
                ("source_type", models.CharField(max_length=36)),
                ("source", models.TextField()),
                ("schema", models.TextField(blank=True)),
                ("profile", models.TextField(blank=True)),
                (
                    "experiment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="datasets",
                        to="experiments.experiment",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="DatasetInput",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("tags", models.JSONField(blank=True, default=dict)),
                (
                    "dataset",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="uses", to="experiments.dataset"
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="dataset_inputs", to="experiments.run"
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="ModelInput",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "model",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="uses", to="experiments.loggedmodel"
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="model_inputs", to="experiments.run"
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.AddConstraint(
            model_name="dataset",
            constraint=models.UniqueConstraint(fields=("experiment", "name", "digest"), name="dataset_of_experiment"),
        ),
        migrations.AddConstraint(
            model_name="datasetinput",
            constraint=models.UniqueConstraint(fields=("run", "dataset"), name="dataset_of_run"),
        ),
        migrations.AddConstraint(
            model_name="modelinput",
            constraint=models.UniqueConstraint(fields=("run", "model"), name="model_into_run"),
        ),
    ]
