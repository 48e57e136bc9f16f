"""Objects on clusters as they were applied last."""

from typing import ClassVar

from django.db import models
from django.utils import timezone


class AppliedObject(models.Model):
    """An object as it was applied last: what the cluster's is compared with, and what restores it."""

    placement = models.ForeignKey("deployments.Placement", models.CASCADE, related_name="applied")
    kind = models.CharField(max_length=40)
    name = models.CharField(max_length=253)
    # The digest of what was asked (`manifests.asked_of`), as it is noted on the object.
    asked = models.CharField(max_length=16)
    # The fields that we stated, in the API server's own words, without the number of replicas.
    manifest = models.JSONField()
    applied_at = models.DateTimeField(default=timezone.now)
    # How the last round found it, of kinds that are not watched: its health, and a sentence. "" of those that are.
    health = models.CharField(max_length=16, blank=True)
    message = models.TextField(blank=True)

    class Meta:
        ordering: ClassVar = ["kind", "name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["placement", "kind", "name"], name="object_of_placement")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"
