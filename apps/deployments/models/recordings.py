"""Requests to a deployment that were kept, so that analyses send them again."""

from typing import ClassVar

from django.db import models


class Recording(models.Model):
    """A request of Open Inference that what served had answered: its inputs, and nothing of who sent it or how."""

    deployment = models.ForeignKey("Deployment", models.CASCADE, related_name="recordings")
    number = models.PositiveIntegerField()
    name = models.CharField(max_length=60, blank=True)
    # The body as it is sent. As text: what a string of JSON may hold, a column of JSON may not.
    body = models.TextField()
    digest = models.CharField(max_length=64)
    # Its inputs in a line, without their data: "x 1×64 FP64".
    inputs = models.CharField(max_length=200)
    # The number of the revision that answered it when it was kept.
    revision = models.PositiveIntegerField()
    created_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["deployment", "number"], name="recording_number_in_deployment"),
            models.UniqueConstraint(fields=["deployment", "digest"], name="recording_once_in_deployment"),
        ]

    def __str__(self) -> str:
        return f"{self.deployment} request {self.number}"

    @property
    def title(self) -> str:
        """What people call it."""
        return self.name or f"request {self.number}"
