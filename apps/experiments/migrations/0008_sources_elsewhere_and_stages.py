"""Model versions whose files lie elsewhere, the ids of runs that are none of Flotilla's, and MLflow's stages."""

from typing import Any

from django.db import migrations, models
from django.db.models import OuterRef, Subquery


def name_runs(apps: Any, schema_editor: Any) -> None:
    """Versions that were made of a run have its id."""
    runs = apps.get_model("experiments", "Run").objects.filter(pk=OuterRef("run_id"))
    versions = apps.get_model("experiments", "ModelVersion").objects.filter(run__isnull=False)
    versions.update(source_run=Subquery(runs.values("uid")[:1]))


class Migration(migrations.Migration):
    dependencies = [
        ("experiments", "0007_artifact_checksums"),
    ]

    operations = [
        migrations.AddField(
            model_name="modelversion",
            name="location",
            field=models.CharField(blank=True, max_length=1000),
        ),
        migrations.AddField(
            model_name="modelversion",
            name="source_run",
            field=models.CharField(blank=True, max_length=250),
        ),
        migrations.AddField(
            model_name="modelversion",
            name="stage",
            field=models.CharField(
                choices=[
                    ("None", "None"),
                    ("Staging", "Staging"),
                    ("Production", "Production"),
                    ("Archived", "Archived"),
                ],
                default="None",
                max_length=16,
            ),
        ),
        migrations.RunPython(name_runs, migrations.RunPython.noop),
    ]
