"""One index of all pods that are not well, in the place of the one of those that fail."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    """What a cluster's page explains, and what fails, is found without looking at the thousands that are well."""

    dependencies: ClassVar = [("clusters", "0005_gpu_kinds")]

    operations: ClassVar = [
        migrations.RemoveIndex("pod", "pod_failing"),
        migrations.AddIndex(
            "pod",
            models.Index(
                fields=["cluster"],
                condition=models.Q(("deleted_at", None), models.Q(("health", "Healthy"), _negated=True)),
                name="pod_unwell",
            ),
        ),
    ]
