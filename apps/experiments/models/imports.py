"""What became here of the objects of other MLflow servers."""

from typing import ClassVar

from django.db import models

from apps.core.models import Project


class Imported(models.Model):
    """An object of another server, and the one here that it is brought to."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="imported")
    # The address of the server, and the workspace in it.
    source = models.CharField(max_length=400)
    kind = models.CharField(max_length=16)
    source_id = models.CharField(max_length=600)
    # Our id of it: chosen before it is made, so that whoever was killed in between makes the same.
    target = models.CharField(max_length=600)
    # A digest of what the source said of it when it had been brought whole; "" until then.
    mark = models.CharField(max_length=64, blank=True)
    # How many points and files it had there, and of how many bytes.
    points = models.BigIntegerField(default=0)
    files = models.BigIntegerField(default=0)
    file_bytes = models.BigIntegerField(default=0)
    # What of it could not be brought, and why.
    notes = models.JSONField(default=list, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "source", "kind", "source_id"], name="imported_once")
        ]
        indexes: ClassVar = [models.Index(fields=["target"], name="imported_as")]

    def __str__(self) -> str:
        return f"{self.kind} {self.source_id}"
