"""Claims of checkpoints on clusters, which Flotilla has to delete once their run is gone for good."""

from typing import ClassVar

from django.db import models

from apps.clusters.models import Cluster


class KeptClaim(models.Model):
    """The PersistentVolumeClaim of a run's checkpoints on one cluster: noted before it is made, forgotten once it is
    gone. Where its run is, it is to go."""

    run = models.ForeignKey("Run", models.SET_NULL, null=True, blank=True, related_name="claims")
    cluster = models.ForeignKey(Cluster, models.CASCADE, related_name="+", db_index=False)
    namespace = models.CharField(max_length=63)
    name = models.CharField(max_length=63)
    # Of the run, by which the claim is known as ours when the run's row is gone.
    run_number = models.BigIntegerField()
    run_uid = models.CharField(max_length=32)
    # When the API server first said that there is none, while it says so.
    missing_since = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["cluster", "namespace", "name"], name="claim_once"),
        ]

    def __str__(self) -> str:
        return self.name
