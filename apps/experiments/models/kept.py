"""What a run leaves on clusters, which Flotilla has to delete once the run is gone for good."""

from typing import ClassVar

from django.db import models

from apps.clusters.models import Cluster


class KeptObject(models.Model):
    """An object of a run on one cluster that nothing there deletes by itself: the claim of its checkpoints, a TrainJob.
    Noted before it is made, and forgotten once it is gone. Where its run is, it is to go."""

    run = models.ForeignKey("Run", models.SET_NULL, null=True, blank=True, related_name="kept")
    cluster = models.ForeignKey(Cluster, models.CASCADE, related_name="+", db_index=False)
    api_version = models.CharField(max_length=100, default="v1", db_default="v1")
    kind = models.CharField(max_length=63, default="PersistentVolumeClaim", db_default="PersistentVolumeClaim")
    namespace = models.CharField(max_length=63)
    name = models.CharField(max_length=63)
    # Of the run, by which the object is known as ours when the run's row is gone.
    run_number = models.BigIntegerField()
    run_uid = models.CharField(max_length=32)
    # When the API server first said that there is none, while it says so.
    missing_since = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["cluster", "namespace", "kind", "name"], name="kept_once"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"
