"""The last lines of replicas that went, because the rollout that brought them was taken back."""

from typing import ClassVar

from django.db import models


class KeptLog(models.Model):
    """The end of the log of one replica, as it was when its revision was taken back."""

    rollout = models.ForeignKey("Rollout", models.CASCADE, related_name="kept_logs")
    target = models.CharField(max_length=40)
    replica = models.CharField(max_length=253)
    container = models.CharField(max_length=63)
    # Whether these are of the start before the last one, which tells why it was restarted.
    previous = models.BooleanField(default=False)
    # Why it was not ready then, in a phrase; "" of one that was.
    why = models.CharField(max_length=200, blank=True)
    # Lines with their times, as Kubernetes writes them.
    text = models.TextField()
    taken_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["rollout", "target", "replica"], name="kept_log_of_replica")
        ]

    def __str__(self) -> str:
        return f"log of {self.replica}"
