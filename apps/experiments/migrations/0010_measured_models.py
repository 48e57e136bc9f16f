"""What runs say of logged models: which they put out, and how good they are."""

import django.db.models.deletion
from django.db import migrations, models
from django.db.models.functions import MD5

COPY = """
INSERT INTO experiments_modeloutput (run_id, model_id, step)
SELECT run_id, id, step FROM experiments_loggedmodel WHERE run_id IS NOT NULL AND step IS NOT NULL;
-- The table is altered next, and nothing may be left to check by then.
SET CONSTRAINTS ALL IMMEDIATE;
"""
BACK = """
UPDATE experiments_loggedmodel AS model SET step = output.step FROM experiments_modeloutput AS output
WHERE output.model_id = model.id AND output.run_id = model.run_id;
SET CONSTRAINTS ALL IMMEDIATE;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("experiments", "0009_inputs"),
    ]

    operations = [
        migrations.CreateModel(
            name="ModelMetric",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(db_collation="C", max_length=250)),
                ("value", models.FloatField()),
                ("step", models.BigIntegerField()),
                ("timestamp", models.BigIntegerField()),
                ("dataset_name", models.CharField(blank=True, max_length=500)),
                ("dataset_digest", models.CharField(blank=True, max_length=36)),
                (
                    "model",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="metrics",
                        to="experiments.loggedmodel",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="model_metrics", to="experiments.run"
                    ),
                ),
            ],
            options={
                "ordering": ["key", "id"],
                "constraints": [
                    models.UniqueConstraint(
                        models.F("model"),
                        models.F("key"),
                        models.F("run"),
                        MD5("dataset_name"),
                        models.F("dataset_digest"),
                        name="one_metric_of_model",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ModelOutput",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("step", models.BigIntegerField()),
                (
                    "model",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="outputs",
                        to="experiments.loggedmodel",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="model_outputs", to="experiments.run"
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "constraints": [models.UniqueConstraint(fields=("run", "model"), name="model_out_of_run")],
            },
        ),
        migrations.RunSQL(COPY, BACK),
        migrations.RemoveField(
            model_name="loggedmodel",
            name="step",
        ),
    ]
